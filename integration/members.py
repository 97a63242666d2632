"""A team of a thousand, of whom one runs: what an agent needs to join it.

The others exist in Keybase alone: members, with the lines that they have announced for the last four
hours. Nobody answers at their addresses, so the newcomer checks for ever, which is the worst case.
"""

import base64
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final

from .lab import Lab
from .mesh import TEAM, TOPIC, simulator

TOPOLOGY: Final = Path(__file__).resolve().parents[1] / "compose" / "pair.yaml"

SERVICES: Final = ("keybase", "internet", "router-a", "carrier-a", "stun", "turn")
"""All that the newcomer needs; it starts once the team is there."""

SUBNET: Final = IPv4Network("100.64.0.0/20")
HOURS: Final = 4.0
"""Of history: what a newcomer reads."""

INTERVAL: Final = 1500.0
"""Seconds between two lines of a member."""

JOIN_SECONDS: Final = 90.0
"""Until a newcomer must have everybody, on a machine that is busy with other things."""

_TICKS: Final = 100
"""Clock ticks a second of /proc/PID/stat (USER_HZ, the same on every Linux)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one newcomer took.

    Attributes:
        cpu: seconds of CPU of the agent's own, from its start until every peer was configured.
        wall: seconds that passed meanwhile.
        memory: MiB that are resident once it has settled (VmRSS), the files of its libraries and all.
        peak: MiB at most until then (VmHWM).
        idle: part of one core that it takes once it has settled.
    """

    cpu: float
    wall: float
    memory: float
    peak: float
    idle: float


def join(members: int, name: str, *, settle: float = 20.0, idle: float = 20.0) -> Figures:
    """Let one host join a team of so many others, and measure its agent.

    Args:
        members: how many others.
        name: of the lab.
        settle: seconds to wait, once everybody is configured, before idleness is measured.
        idle: seconds for which that is measured; 0: not at all.
    """
    settings = {"SUBNET": str(SUBNET), "PORT_MAPPING": "off"}
    with Lab.up(TOPOLOGY, settings, name=name, services=SERVICES) as lab:
        simulator(lab).orders(_orders(members))
        began = time.monotonic()
        lab.start("alice")
        lab.wait_for(lambda: _peers(lab) >= members, JOIN_SECONDS, f"{members} peers are there")
        wall, cpu = time.monotonic() - began, _cpu(lab)
        time.sleep(settle if idle else 0)
        before, at = _cpu(lab), time.monotonic()
        time.sleep(idle)
        share = (_cpu(lab) - before) / (time.monotonic() - at) if idle else 0.0
        return Figures(cpu, wall, _memory(lab, "VmRSS"), _memory(lab, "VmHWM"), share)


def _orders(members: int) -> Iterator[tuple[Any, ...]]:
    """Make the members, and let them have said what they would have."""
    for number in range(members):
        yield ("role", TEAM, f"user{number}", "writer")
    now, posted = time.time(), int(HOURS * 3600 / INTERVAL)
    first_ids: dict[int, int] = {}
    for turn in range(posted):
        for number in range(members):
            sent_at = now - HOURS * 3600 + INTERVAL * (turn + number / members)
            flags = {"sent_at_ms": int(sent_at * 1000)}
            # The conversation begins with its title and its creator's joining.
            first_ids.setdefault(number, 3 + number)
            line = _line(number, int(sent_at * 1000), first_ids[number] if turn else None)
            yield ("post-raw", TEAM, TOPIC, f"user{number}/host", line, flags)


def _line(number: int, seq: int, since: int | None) -> str:
    """Return a line as hosts behind home routers announce themselves."""
    key = base64.b64encode(hashlib.sha256(f"key {number}".encode()).digest()).decode()
    inside, mapped = f"192.168.{number % 250}.{10 + number // 250}", _mapped(number)
    tail: Mapping[str, object] = {
        "v": 2,
        "seq": seq,
        "ip": str(SUBNET[100 + number]),
        **({} if since is None else {"since": since}),
        "cand": [
            f"{_digest(inside)} 1 udp 2130706431 {inside} 7321 typ host",
            f"{_digest(mapped)} 1 udp 2130706431 2001:db8:9::{number + 1:x} 7321 typ host",
            f"{_digest(mapped)} 1 udp 1694498815 {mapped} {20000 + number} typ srflx",
        ],
        "nat": {"mapping": "endpoint-independent"},
    }
    return f"ANNOUNCE {mapped}:{20000 + number} {key} {json.dumps(tail, separators=(',', ':'))}"


def _mapped(number: int) -> str:
    return str(IPv4Address("198.18.128.0") + number)


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]


def _peers(lab: Lab) -> int:
    return len(lab.exec("alice", ["wg", "show", "kbwg0", "allowed-ips"]).stdout.splitlines())


def _agent(lab: Lab, file: str) -> str:
    script = f"cat /proc/$(pgrep -o -f 'kbwg run')/{file}"
    return lab.exec("alice", ["sh", "-c", script]).stdout


def _cpu(lab: Lab) -> float:
    fields = _agent(lab, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(lab: Lab, field: str) -> float:
    (line,) = [line for line in _agent(lab, "status").splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) / 1024
