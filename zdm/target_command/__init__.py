"""Ring 4: `zdm-proxy target`, the command that switches running proxies. `commands` is the place to begin."""
