"""Upgrade without downtime: the running program starts the new one, and hands its clients over.

`estate` is what the new program is given when it starts, `words` what both say to each other then, `outgoing` the end
of the program that goes, `incoming` that of the one that comes. `roles` is what either asks of its workers, `command`
how an operator asks for it.
"""
