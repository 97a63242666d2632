"""Finds uplinks whose reverse-path filter drops what comes in (RFC 3704, ip-sysctl: rp_filter).

A strict filter drops a packet that comes in by another interface than an answer would leave by. It
asks without our mark (unless `src_valid_mark` and a rule of somebody's give it one), so the answer
of a second uplink is dropped although data would leave by the right one.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from pyroute2.netlink.exceptions import NetlinkError

from nat.machine import IPAddress

from .link import on_thread, rtnetlink

STRICT: Final = 1
"""Value of `rp_filter` that drops; the larger of an interface's and that of `all` holds."""

SYSCTL: Final = Path("/proc/sys/net/ipv4/conf")

ANYWHERE: Final = "192.0.2.1"
"""A documentation address, only looked up: the way to anywhere else."""


async def filtered_uplinks(uplinks: Mapping[IPAddress, int]) -> tuple[tuple[str, str], ...]:
    """Return the interfaces that drop what comes in, each with what would mend it."""
    return await on_thread(_filtered, uplinks)


def _filtered(uplinks: Mapping[IPAddress, int]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    with rtnetlink("look up the way back") as netlink:
        names = {link["index"]: str(link.get("ifname")) for link in netlink.link("dump")}
        for source, index in uplinks.items():
            name = names.get(index)
            if not isinstance(source, IPv4Address) or name is None or not _strict(name):
                continue
            if _answers_by(netlink, source) != index:
                found[name] = (
                    f"the reverse-path filter drops what comes in by {name}, so paths by that "
                    f"uplink do not work: set the sysctl net.ipv4.conf.{name}.rp_filter=2"
                )
    return tuple(found.items())


def _strict(name: str) -> bool:
    try:
        values = [int((SYSCTL / each / "rp_filter").read_text()) for each in ("all", name)]
    except (OSError, ValueError):
        return False
    return max(values) == STRICT


def _answers_by(netlink: Any, source: IPv4Address) -> int | None:
    try:
        answer = next(iter(netlink.route("get", dst=ANYWHERE, src=str(source))))
    except NetlinkError:
        return None
    index = answer.get("oif")
    return None if index is None else int(index)
