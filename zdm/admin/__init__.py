"""Ring 3: the HTTP side of the proxy, for operators and for what watches it."""
