"""Each thing that a start may lack, and what mends it, in words for an operator. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from .capabilities import Capability
from .host import HostState

STRICT: Final = 1
"""Mode of rp_filter that drops what would not be answered by the same interface (RFC 3704 §2.2)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is missing.

    Attributes:
        fatal: nothing can work without it.
    """

    text: str
    fatal: bool


def findings(
    host: HostState, *, backend: Literal["auto", "kernel", "userspace"], mark: int
) -> Iterator[Finding]:
    """List what is missing, the fatal first.

    Args:
        host: what was found.
        backend: KBWG_BACKEND.
        mark: KBWG_FWMARK; 0 for none.
    """
    if Capability.NET_ADMIN not in host.bounding:
        yield Finding(
            "CAP_NET_ADMIN is missing, without which no interface can be made: start the container "
            "with --cap-add NET_ADMIN",
            fatal=True,
        )
    elif host.uid != 0 and host.no_new_privileges and Capability.NET_ADMIN not in host.effective:
        yield Finding(
            "no-new-privileges keeps the capabilities from an unprivileged user: leave out that "
            "option (in Kubernetes allowPrivilegeEscalation: false), or --user",
            fatal=True,
        )
    if not host.tun and not host.kernel_wireguard:
        yield Finding(
            "neither is the kernel's WireGuard module loaded, nor can user "
            f"{host.uid} open /dev/net/tun for wireguard-go: run `modprobe wireguard` on the host "
            "(Linux 5.6 or later), or start the container with --device /dev/net/tun",
            fatal=backend == "userspace",
        )
    if Capability.NET_RAW not in host.bounding:
        yield Finding(
            "CAP_NET_RAW is missing: STUN is told apart from WireGuard by nftables instead, which "
            "needs nf_tables in the kernel; better start the container with --cap-add NET_RAW",
            fatal=False,
        )
    strict = [name for name, mode in host.rp_filter.items() if mode == STRICT]
    if strict and mark and not host.src_valid_mark:
        yield Finding(
            f"rp_filter is strict on {', '.join(strict)} and src_valid_mark is off: on a host with "
            "several uplinks the kernel drops answers; set net.ipv4.conf.all.src_valid_mark=1 "
            "(--sysctl, or on the host with host networking)",
            fatal=False,
        )
