"""What the host and the container runtime give us: read once at the start, from /proc and /dev."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .capabilities import Capability, parse_set

TUN: Final = Path("/dev/net/tun")


@dataclass(frozen=True, slots=True)
class HostState:
    """Everything that a start may lack.

    Attributes:
        effective: capabilities of this process.
        bounding: capabilities that its programs can get at most.
        no_new_privileges: no program gains anything by being run (`no-new-privileges`).
        tun: whether /dev/net/tun is there and may be opened.
        kernel_wireguard: whether the kernel has WireGuard loaded or built in, as far as it shows.
        rp_filter: interface to mode, as IP applies it (the greater of its own and `all`).
        src_valid_mark: whether the reverse path is looked up with the mark.
    """

    uid: int
    gid: int
    effective: frozenset[Capability]
    bounding: frozenset[Capability]
    no_new_privileges: bool
    tun: bool
    kernel_wireguard: bool
    rp_filter: dict[str, int]
    src_valid_mark: bool


def read_host(proc: Path = Path("/proc"), tun: Path = TUN) -> HostState:
    """Look at everything; what cannot be read counts as absent."""
    status = dict(
        line.split(":\t", 1)
        for line in _text(proc / "self" / "status").splitlines()
        if ":\t" in line
    )
    conf = proc / "sys" / "net" / "ipv4" / "conf"
    common = _number(conf / "all" / "rp_filter")
    return HostState(
        uid=os.geteuid(),
        gid=os.getegid(),
        effective=parse_set(status.get("CapEff", "0")),
        bounding=parse_set(status.get("CapBnd", "0")),
        no_new_privileges=status.get("NoNewPrivs", "0") == "1",
        tun=_is_usable_tun(tun),
        kernel_wireguard=(proc.parent / "sys" / "module" / "wireguard").exists(),
        rp_filter={
            entry.parent.name: max(common, _number(entry))
            for entry in sorted(conf.glob("*/rp_filter"))
            if entry.parent.name not in ("all", "default", "lo")
        },
        src_valid_mark=_number(conf / "all" / "src_valid_mark") == 1,
    )


def _is_usable_tun(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) and os.access(path, os.R_OK | os.W_OK)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0
