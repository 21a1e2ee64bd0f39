"""Workers in processes of their own: the supervisor's end, the worker's end, and what they say to each other.

`crew` is the workers as the supervisor knows them, `remote` one of them, `launch` how a process is started; `hosted` is
the worker's end of the channel, around the same `zdm.workers.Worker` that serves where there is one process only.
`commands` are their words, `snapshots`, `counters` and `statements` how values travel.
"""
