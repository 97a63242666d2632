"""From a topology to the commands that build it: text for `ip -batch` and `sh`. Pure.

    node namespace          switch namespace                     node namespace
    ┌────────┐        ┌───────────────────────────┐        ┌────────┐
    │ alice  │  veth  │      bridge br0           │  veth  │router-a│
    │   eth0 ├────────┤ p0   (network home-a)  p1 ├────────┤ eth0   │
    └────────┘        └───────────────────────────┘        └────────┘

Each lab has a switch of its own with one bridge for each network; the root namespace is not
touched.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ..topology import Service, Topology

PRIVATE: Final = (PurePosixPath("/tmp"), PurePosixPath("/var/lib"))
"""Directories that a node sees as the host has them, but writes to privately."""

STATE: Final = (PurePosixPath("/var/lib/kbwg"), PurePosixPath("/run/kbwg"))
"""Directories that the image makes for the agent."""

HOME: Final = "/run/home"
"""A node's own home directory."""


@dataclass(frozen=True, slots=True)
class Plug:
    """One cable: a node's interface and the switch's port for it."""

    node: str
    network: str
    interface: str
    port: str
    bridge: str


def plugs(topology: Topology) -> tuple[Plug, ...]:
    """Lay the cables of a topology."""
    bridges = {name: f"br{index}" for index, name in enumerate(topology.networks)}
    attachments = [
        (service.name, attachment)
        for service in topology.services.values()
        for attachment in service.attachments
    ]
    return tuple(
        Plug(node, at.network, at.interface, f"p{index}", bridges[at.network])
        for index, (node, at) in enumerate(attachments)
    )


def switch_batch(topology: Topology, netns: Mapping[str, str]) -> str:
    """Write the bridges and cables, for `ip -batch` in the switch's namespace.

    Args:
        topology: what to build.
        netns: the network namespace of each node.
    """
    lines = []
    for index, _ in enumerate(topology.networks):
        # No spanning tree and no snooping: a switch that forwards from its first moment.
        lines += [
            f"link add br{index} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link set br{index} up",
        ]
    for plug in plugs(topology):
        lines += [
            f"link add {plug.port} type veth peer name {plug.interface} netns {netns[plug.node]}",
            f"link set {plug.port} master {plug.bridge} up",
        ]
    return _text(lines)


def node_batch(service: Service) -> str:
    """Write a node's addresses, for `ip -batch` in its namespace."""
    lines = ["link set lo up"]
    for attachment in service.attachments:
        name = attachment.interface
        for address in attachment.addresses:
            # No other host can have it, so no second of waiting for duplicates.
            nodad = " nodad" if address.version == 6 else ""
            lines.append(f"address add {address} dev {name}{nodad}")
        lines.append(f"link set {name} up")
    return _text(lines)


def node_script(service: Service, *, stage: Path, volumes: Path, needed: tuple[Path, ...]) -> str:
    """Write the shell script that becomes a node's first process.

    It runs in fresh mount, pid and host name namespaces, prints `ready` when the node is
    furnished, and then only reaps.

    Args:
        service: the node.
        stage: an empty directory outside of the node, where its `/run` is put together.
        volumes: the directory that holds one directory for each named volume.
        needed: paths that must still be visible in the node.
    """
    lines = [
        "set -eu",
        f"echo {shlex.quote(service.name)} >/proc/sys/kernel/hostname",
        # A fresh one shows the interfaces of this namespace.
        "mount -n -t sysfs sysfs /sys",
        f"stage={shlex.quote(str(stage))}",
        'mount -n -t tmpfs -o mode=755 tmpfs "$stage"',
        f'mkdir -p "$stage"{HOME.removeprefix("/run")} "$stage/lock" "$stage/wireguard"',
    ]
    for directory in PRIVATE:
        own = f"$stage/.private{directory}"
        layers = f'lowerdir={directory},upperdir="{own}/upper",workdir="{own}/work"'
        lines += [
            f'mkdir -p "{own}/upper" "{own}/work"',
            f"mount -n -t overlay -o {layers} overlay {directory}",
        ]
    lines += [f"mkdir -p {_staged(directory)}" for directory in STATE]
    for mount in service.mounts:
        source, target = shlex.quote(str(volumes / mount.volume)), _staged(mount.target)
        lines += [f"mkdir -p {target}", f"mount -n --bind {source} {target}"]
        if mount.read_only:
            lines.append(f"mount -n -o remount,bind,ro {target}")
    lines += [
        'mount -n --move "$stage" /run',
        # Whatever a node writes elsewhere would outlive the lab.
        "mount -n -o remount,bind,ro /",
    ]
    lines += [
        # The kernel's defaults: a new namespace inherits what the host has changed.
        "echo 0 >/proc/sys/net/ipv4/ip_forward",
        "for filter in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$filter; done",
    ]
    lines += [
        f"printf '%s' {shlex.quote(value)} >{shlex.quote(_sysctl_path(name))}"
        for name, value in service.sysctls.items()
    ]
    lines += [
        f"[ -e {shlex.quote(str(path))} ] || {{ echo {shlex.quote(f'{path} is on a file system')}"
        f" 'that a node does not see' >&2; exit 1; }}"
        for path in needed
    ]
    lines += [
        "echo ready",
        # Whoever loses its parent becomes our child; ignored children leave no remains.
        "exec env --ignore-signal=CHLD sleep infinity </dev/null >/dev/null 2>&1",
    ]
    return _text(lines)


def _staged(target: PurePosixPath) -> str:
    """Where a directory of the node is while its `/run` is still being put together."""
    if target.is_relative_to("/run"):
        return f'"$stage"/{shlex.quote(str(target.relative_to("/run")))}'
    return shlex.quote(str(target))


def _sysctl_path(name: str) -> str:
    return "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
