"""Who is in the mesh, with which key, address and candidates (design S4, A1 to A3).

Messages, members and `peers.json` come in, in any order and any number of times; `view()` is a
function of the set of what came in. A message counts for exactly the device that Keybase attests
as its sender, never for what its text claims.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Final

from .addressing import AddressBook, Claim, DeviceKey, choose, fold
from .announcement import Announcement, decode, encode
from .errors import AnnouncementError
from .health import Condition
from .identity import NodeId, PublicKey
from .keybase.models import MESH_ROLES, ChatMessage, Membership
from .peers_file import MeshRole, PeersFile, PeersFileEntry
from .policy import may_talk, role_of
from .records import DeviceRecords, Record, Standing
from .team_config import Policy

MAX_DEVICES_PER_USER: Final = 64
"""Devices of one user whose lines are kept; nobody runs more hosts as one person."""

LONGEST_CACHE: Final = 900.0
"""Seconds that Keybase's client may take to notice that a user has another device: its cache of
users lives 600 (keybase: `CachedUserTimeout`), plus what clocks may differ."""

MAX_VOID: Final = 10_000
"""Ids of edited and deleted messages that are remembered, the latest ones."""


@dataclass(frozen=True, slots=True)
class DirectoryPeer:
    """A device that may talk to us.

    Attributes:
        node: who it is; `None`: listed in `peers.json`, and never heard of.
        announcement: what it says; `None`: nothing that counts.
        announced_id: id of that message; 0 for none. A higher one is a new announcement, even
            if it says the same.
    """

    username: str
    device: str
    node: NodeId | None
    role: MeshRole
    ip: IPv4Address | None
    announcement: Announcement | None
    announced_id: int


@dataclass(frozen=True, slots=True)
class DirectoryView:
    """The directory at one moment.

    Attributes:
        own_ip: our overlay address once it is ours: static, or a claim that was read back.
        conditions: (condition, subject, text) for health.
    """

    peers: tuple[DirectoryPeer, ...]
    own_role: MeshRole
    own_ip: IPv4Address | None
    own_static: bool
    conditions: tuple[tuple[Condition, str, str], ...]


class Directory:
    """The directory of one team as this device sees it.

    Args:
        own: this device.
        own_key: our WireGuard key.
        subnet: the overlay network.
        preferred: the overlay address of the last run, taken again if it is free.
    """

    def __init__(
        self,
        *,
        own: NodeId,
        own_key: PublicKey,
        subnet: IPv4Network,
        preferred: IPv4Address | None = None,
    ) -> None:
        self._own = own
        self._own_key = own_key
        self._subnet = subnet
        self._preferred = preferred
        self._devices: dict[DeviceKey, DeviceRecords] = {}
        self._nodes: dict[DeviceKey, NodeId] = {}
        self._void: set[int] = set()
        self._deletions: set[tuple[int, int]] = set()
        self._revoked: set[DeviceKey] = set()
        self._seen: set[DeviceKey] = set()
        self._confirmed: dict[PublicKey, DeviceKey] = {}
        self._own_posts: set[int] = set()
        self._own_first_post: int | None = None
        self._choice: IPv4Address | None = None
        self._lost_claims: set[IPv4Address] = set()
        self.membership: Membership | None = None
        self.peers_file: PeersFile | None = None
        self.policy = Policy.ROLES
        self.stale = False
        self.counters: Counter[str] = Counter()
        """Messages that changed nothing, by reason (`sidecar/LOGGING.md`)."""

    # What comes in ---------------------------------------------------------------------------

    def handle_messages(self, messages: Iterable[ChatMessage]) -> None:
        """Take in messages of the announce channel."""
        for message in messages:
            if message.edits is not None:
                self._make_void(message.edits)
            for id_ in message.deletes:
                self._make_void(id_)
                self._deletions.add((message.id, id_))
            if message.text is not None:
                self._handle_text(message, message.text)

    def handle_membership(self, membership: Membership) -> None:
        """Take in who is in the team; its id, once known, is kept."""
        if membership.team_id is None and self.membership is not None:
            membership = replace(membership, team_id=self.membership.team_id)
        self.membership = membership

    def handle_peers_file(self, peers_file: PeersFile | None) -> None:
        """Take in `peers.json`; `None`: it does not exist."""
        self.peers_file = peers_file

    def handle_devices(self, username: str, ids: frozenset[str], wall: float) -> None:
        """Take in which devices of a user are not revoked, at wall-clock time `wall`.

        A device that is missing is revoked if it was there before, or if it has spoken for longer
        than a new one can be unknown. An empty answer says nothing: who speaks has a device.
        """
        if not ids:
            return
        for key, records in self._devices.items():
            if key[0] != username:
                continue
            if key[1] in ids:
                self._seen.add(key)
                continue
            first = min((record.sent_at for record in records.records.values()), default=wall)
            if key not in self._revoked and (key in self._seen or first < wall - LONGEST_CACHE):
                self._revoked.add(key)
                self.counters["device-revoked"] += 1

    def handle_staleness(self, stale: bool) -> None:
        """Believe, or not any more, that who was in the team still is."""
        self.stale = stale

    def handle_policy(self, policy: Policy) -> None:
        """Take in who may talk to whom, as the team says."""
        self.policy = policy

    def confirm_key(self, node: NodeId, key: PublicKey) -> None:
        """Believe that `node` holds `key`: a check with credentials of that key has passed."""
        self._confirmed[key] = _key(node)

    def note_own_post(self, id_: int) -> None:
        """Remember that this very agent posted message `id_`."""
        self._own_posts.add(id_)
        if self._own_first_post is None:
            self._own_first_post = id_

    # What comes out --------------------------------------------------------------------------

    def view(self) -> DirectoryView:
        """Return who is in, as of everything that came in."""
        standings = {
            key: records.standing()
            for key, records in self._devices.items()
            if key not in self._revoked and self._is_member(key[0])
        }
        addresses = self._book(standings).addresses()
        holders, conditions = self._key_holders(standings)
        own_entry = self._entry(self._own)
        own_role = self._role(self._own)
        own_ip = own_entry.ip if own_entry else addresses.get(_key(self._own))
        peers: list[DirectoryPeer] = []
        listed = dict(self.peers_file.entries) if self.peers_file else {}
        for key, standing in standings.items():
            node = self._nodes[key]
            entry = listed.pop((node.username, node.device), None)
            role = self._role(node)
            if key == _key(self._own) or not may_talk(own_role, role, self.policy):
                continue
            current = standing.current
            line = None if current is None else current.line
            if not isinstance(line, Announcement) or holders.get(line.public_key) != key:
                current, line = None, None
            if line is None and entry is None:
                continue
            peers.append(
                DirectoryPeer(
                    username=node.username,
                    device=node.device,
                    node=node,
                    role=role,
                    ip=entry.ip if entry else addresses.get(key),
                    announcement=None if line is None else self._usable(line),
                    announced_id=0 if current is None else current.id,
                )
            )
        for entry in listed.values():
            own = (entry.username, entry.device) == (self._own.username, self._own.device)
            if (
                not own
                and self._is_member(entry.username)
                and may_talk(own_role, entry.role, self.policy)
            ):
                peers.append(
                    DirectoryPeer(
                        username=entry.username,
                        device=entry.device,
                        node=None,
                        role=entry.role,
                        ip=entry.ip,
                        announcement=None,
                        announced_id=0,
                    )
                )
        peers.sort(key=lambda peer: (peer.username, peer.device))
        conditions += self._own_conditions(own_static=own_entry is not None)
        return DirectoryView(
            () if self.stale else tuple(peers),
            own_role,
            own_ip,
            own_entry is not None,
            tuple(sorted(conditions, key=lambda condition: (condition[0].code, *condition[1:]))),
        )

    def next_seq(self, now_ms: int) -> int:
        """Return the number of our next line (design S2)."""
        own = self._devices.get(_key(self._own))
        return max(now_ms, own.standing().highest_seq + 1 if own else 1)

    def set_own_key(self, own_key: PublicKey) -> None:
        """Change our WireGuard key."""
        self._own_key = own_key

    def claim(self, rng: Random) -> tuple[IPv4Address | None, int | None]:
        """Return address and `since` that our next line should claim.

        Stays the same until something speaks against it. `(None, None)`: our address is static,
        or no address is free (`Condition.ADDRESSES_EXHAUSTED`).
        """
        if self._entry(self._own) is not None:
            return None, None
        book = self._book({key: records.standing() for key, records in self._devices.items()})
        held = book.address_of(_key(self._own))
        if held is not None:
            self._choice = self._preferred = held
            return held, book.leases[held].first
        taken = self._static_addresses() | self._lost_claims
        if self._choice is not None and (self._choice in book.leases or self._choice in taken):
            self._lost_claims.add(self._choice)
            self._choice = None
        if self._choice is None:
            preferred = self._preferred
            if preferred and _free(preferred, self._subnet, book, taken):
                self._choice = preferred
            else:
                self._choice = choose(rng, book, usable=self._subnet, taken=frozenset(taken))
        return self._choice, None

    def messages(self) -> list[ChatMessage]:
        """Return what would make this directory again, for the cache."""
        return [
            ChatMessage(record.id, self._nodes[key], record.sent_at, encode(record.line))
            for key, records in self._devices.items()
            if key not in self._revoked
            for record in records.records.values()
        ] + [
            ChatMessage(id_, None, 0.0, None, deletes=(deleted,))
            for id_, deleted in self._deletions
        ]

    # Inside ----------------------------------------------------------------------------------

    def _handle_text(self, message: ChatMessage, text: str) -> None:
        sender = message.sender
        if sender is None:
            self.counters["sender-unknown"] += 1
            return
        key = _key(sender)
        if message.revoked_device:
            self._revoked.add(key)
            self.counters["device-revoked"] += 1
            return
        if message.id in self._void:
            self.counters["edited-or-deleted"] += 1
            return
        try:
            line = decode(text)
        except AnnouncementError:
            self.counters["not-an-announcement"] += 1
            return
        if key not in self._devices:
            same_user = sum(1 for username, _ in self._devices if username == key[0])
            if same_user >= MAX_DEVICES_PER_USER:
                self.counters["too-many-devices"] += 1
                return
        self._devices.setdefault(key, DeviceRecords()).add(
            Record(message.id, message.sent_at, line)
        )
        self._nodes[key] = sender

    def _make_void(self, id_: int) -> None:
        self._void.add(id_)
        while len(self._void) > MAX_VOID:
            self._void.remove(min(self._void))
        for records in self._devices.values():
            if records.discard(id_):
                self.counters["edited-or-deleted"] += 1

    def _is_member(self, username: str) -> bool:
        roles = self.membership.roles if self.membership else {}
        return roles.get(username) in MESH_ROLES

    def _entry(self, node: NodeId) -> PeersFileEntry | None:
        entries = self.peers_file.entries if self.peers_file else {}
        return entries.get((node.username, node.device))

    def _role(self, node: NodeId) -> MeshRole:
        entry = self._entry(node)
        return role_of(entry.role if entry else None, file_exists=self.peers_file is not None)

    def _static_addresses(self) -> set[IPv4Address]:
        return {e.ip for e in self.peers_file.entries.values()} if self.peers_file else set()

    def _book(self, standings: dict[DeviceKey, Standing]) -> AddressBook:
        """Fold the claims of everybody who counts and has no static address."""
        claims = [
            Claim(record.id, record.sent_at, key, line.overlay_ip, line.since)
            for key in standings
            if self._entry(self._nodes[key]) is None
            for record in self._devices[key].records.values()
            if isinstance(line := record.line, Announcement) and line.overlay_ip is not None
        ]
        return fold(
            claims,
            self._deletions,
            usable=self._subnet,
            static=frozenset(self._static_addresses()),
        )

    def _key_holders(
        self, standings: dict[DeviceKey, Standing]
    ) -> tuple[dict[PublicKey, DeviceKey], list[tuple[Condition, str, str]]]:
        """Decide whose each key is: ours is ours, a proven holder's, else the first to say it."""
        claimants: dict[PublicKey, list[tuple[int, DeviceKey]]] = {}
        for key, standing in standings.items():
            if standing.current is not None and isinstance(standing.current.line, Announcement):
                public_key = standing.current.line.public_key
                claimants.setdefault(public_key, []).append((standing.first_with_key, key))
        holders: dict[PublicKey, DeviceKey] = {}
        conditions: list[tuple[Condition, str, str]] = []
        for public_key, claims in claimants.items():
            devices = [device for _, device in sorted(claims)]
            proven = self._confirmed.get(public_key)
            if public_key == self._own_key:
                holder = _key(self._own)
            else:
                holder = proven if proven in devices else devices[0]
            holders[public_key] = holder
            others = [str(self._nodes[device]) for device in devices if device != holder]
            if others:
                whose = "our own" if holder == _key(self._own) else f"{self._nodes[holder]}'s"
                text = f"{', '.join(others)} announces {whose} WireGuard key and is ignored"
                conditions.append((Condition.DUPLICATE_KEY, str(public_key), text))
        return holders, conditions

    def _usable(self, line: Announcement) -> Announcement:
        """Drop what lies in the overlay: a tunnel must not carry itself."""
        candidates = tuple(c for c in line.candidates if c.endpoint.ip not in self._subnet)
        endpoint = line.endpoint
        if endpoint is not None and endpoint.ip in self._subnet:
            endpoint = None
        if candidates == line.candidates and endpoint == line.endpoint:
            return line
        return replace(line, candidates=candidates, endpoint=endpoint)

    def _own_conditions(self, *, own_static: bool) -> list[tuple[Condition, str, str]]:
        conditions: list[tuple[Condition, str, str]] = []
        for warning in self.peers_file.warnings if self.peers_file else ():
            conditions.append((Condition.PEERS_FILE_ENTRY, warning, f"peers.json: {warning}"))
        if self.peers_file is not None and not own_static:
            text = f"peers.json does not list {self._own}: it is a guest and reaches servers only"
            conditions.append((Condition.NOT_LISTED, "", text))
        own = self._devices.get(_key(self._own))
        first = self._own_first_post
        if own is not None and first is not None:
            strangers = [i for i in own.records if i > first and i not in self._own_posts]
            if strangers:
                text = (
                    f"another agent announces itself as {self._own}: a cloned disk or a home "
                    "mounted twice; give each host a Keybase device of its own"
                )
                conditions.append((Condition.DUPLICATE_DEVICE, "", text))
        return conditions


def _key(node: NodeId) -> DeviceKey:
    return (node.username, node.device_id)


def _free(ip: IPv4Address, subnet: IPv4Network, book: AddressBook, taken: set[IPv4Address]) -> bool:
    return ip in subnet and ip not in book.leases and ip not in taken
