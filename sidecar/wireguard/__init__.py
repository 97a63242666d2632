"""The WireGuard device: what it should be, what it is, and the two ways to change it."""
