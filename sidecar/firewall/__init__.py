"""The packet filter of the tunnel interface: what a peer may reach of this host (design A3)."""
