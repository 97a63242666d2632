"""The rules of `kb-wireguard` (2020), written anew from what was observed of it. No I/O.

What it reads of a channel, whom it believes, and the WireGuard configuration that it makes of that,
faults included (keybase facts § 10): the labs run it beside the agent, and property tests drive it
with everything that the agent may post.
"""

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

ANNOUNCE: Final = re.compile(
    r"ANNOUNCE ([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}:[0-9]{1,5}) ([a-zA-Z0-9+/]+=?)"
)
"""Searched for in every text, wherever it stands; the first match wins."""

WINDOW_SECONDS: Final = 3600.0
"""How far the server's date of a message may be from the own clock."""

READ_SECONDS: Final = 5.0
ANNOUNCE_SECONDS: Final = 1800.0


class PredecessorExit(Exception):
    """It ends with status 3 and these words."""


class PredecessorCrash(Exception):
    """It dereferences nil: the pinned library takes `msg` of every entry of a thread."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of `peers.json`."""

    username: str
    device: str
    ip: str


@dataclass(slots=True)
class Peer:
    """Another listed device, and what was last accepted of it."""

    listed: Listed
    endpoint: str = ""
    key: str = ""
    last_id: int = 0


@dataclass(slots=True)
class Predecessor:
    """What it knows.

    Attributes:
        username: its user, compared case-sensitively like everything.
        device: its device.
        ip: its own address.
        peers: the other listed devices.
    """

    username: str
    device: str
    ip: str = ""
    peers: dict[tuple[str, str], Peer] = field(default_factory=dict)

    def load_peers(self, content: str) -> None:
        """Take in `peers.json`, once at the start.

        Raises:
            PredecessorExit: an address is none, or it is not in there exactly once itself.
        """
        own = 0
        for entry in json.loads(content):
            found = {key.lower(): value for key, value in entry.items()}  # as Go decodes
            listed = Listed(*(str(found.get(name, "")) for name in ("username", "device", "ip")))
            try:
                ipaddress.ip_address(listed.ip)
            except ValueError:
                raise PredecessorExit(f"invalid IP {listed.ip}") from None
            if (listed.username, listed.device) == (self.username, self.device):
                own += 1
                self.ip = listed.ip
            else:
                self.peers[listed.username, listed.device] = Peer(listed)
        if own != 1:
            raise PredecessorExit(f"found self in peers.json {own} times")

    def read(self, thread: Sequence[Mapping[str, Any]], now: float) -> bool:
        """Take in a thread, newest first; tell whether the configuration changes.

        Raises:
            PredecessorCrash: an entry has no message.
        """
        texts = []
        for entry in thread:
            if "msg" not in entry:
                raise PredecessorCrash("invalid memory address or nil pointer dereference")
            if entry["msg"]["content"]["type"] == "text":
                texts.append(entry["msg"])
        changed = False
        seen: set[tuple[str, str]] = set()
        for message in texts:
            if abs(now - message["sent_at"]) > WINDOW_SECONDS:
                break
            sender = message["sender"]
            name = (sender.get("username", ""), sender.get("device_name", ""))
            peer = self.peers.get(name)
            said = parse(message["content"]["text"]["body"])
            if peer is None or said is None or name in seen:
                continue
            seen.add(name)
            if message["id"] > peer.last_id:
                peer.last_id = message["id"]
                changed = changed or said != (peer.endpoint, peer.key)
                peer.endpoint, peer.key = said
        return changed

    def configuration(self, private_key: str, port: int) -> str:
        """Return the file for `wg setconf` and `wg syncconf`."""
        lines = ["[Interface]", f"ListenPort = {port}", f"PrivateKey = {private_key}"]
        for peer in self.peers.values():
            if peer.key:
                listed = peer.listed
                lines += ["", "[Peer]", f"# {listed.username} ({listed.device})"]
                lines += [f"PublicKey = {peer.key}", f"AllowedIPs = {listed.ip}"]
                lines += [f"Endpoint = {peer.endpoint}"]
        return "\n".join(lines) + "\n"


def parse(text: str) -> tuple[str, str] | None:
    """Return the endpoint and the key that a text announces; the key may be anything."""
    match = ANNOUNCE.search(text)
    if match is None:
        return None
    ip, _, port = match[1].rpartition(":")
    try:
        ipaddress.IPv4Address(ip)
    except ValueError:
        return None
    return (match[1], match[2]) if int(port) <= 65535 else None


def announcement(endpoint: str, key: str) -> str:
    """Return what it posts."""
    return f"ANNOUNCE {endpoint} {key}"
