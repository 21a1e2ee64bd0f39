"""Ring 3: Twisted protocols, and the endpoints that attach them to the event loop."""
