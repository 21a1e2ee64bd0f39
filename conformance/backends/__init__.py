"""The clusters behind the proxy: one interface, several ways to have two clusters."""
