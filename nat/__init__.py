"""NAT traversal: STUN, candidates, connectivity checks and path selection.

Every protocol here is a `Machine` (`nat.machine`): it does no I/O, reads no clock
and draws no randomness of its own. Only `nat.io` touches sockets, netlink and asyncio.
This package knows nothing of `sidecar`, of Keybase or of WireGuard's configuration.
"""
