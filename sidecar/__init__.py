"""The agent: configuration, signalling over Keybase, WireGuard device and supervision."""
