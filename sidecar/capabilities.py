"""The capabilities of Linux that matter here (capabilities(7))."""

from enum import IntEnum


class Capability(IntEnum):
    """A capability, by its bit."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    NET_ADMIN = 12
    NET_RAW = 13


def parse_set(mask: str) -> frozenset[Capability]:
    """Read a set as /proc/PID/status writes it: hexadecimal, without a prefix."""
    bits = int(mask, 16)
    return frozenset(c for c in Capability if bits >> c & 1)
