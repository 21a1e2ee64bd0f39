"""Ring 2: what the proxy decides, without I/O, clock or logger. `session` is the place to begin."""
