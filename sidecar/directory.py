"""Who is in the mesh, with which key, address and candidates (design S4, A1 to A3).

Messages, members and `peers.json` come in, in any order and any number of times; `view()` is a
function of the set of what came in. A message counts for exactly the device that Keybase attests
as its sender, never for what its text claims.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Final

from .addressing import AddressBook, Claim, DeviceKey, choose
from .announcement import Announcement, Leave, decode, encode
from .clones import NO_CLONES, Clones, find_clones
from .errors import AnnouncementError
from .health import Condition
from .identity import NodeId, PublicKey
from .key_holders import KeyHolders, KeyHolding
from .keybase.models import MESH_ROLES, ChatMessage, Membership, TeamRole
from .ledger import WINDOW, Ledger
from .peers_file import MeshRole, PeersFile, PeersFileEntry
from .policy import may_talk, role_of
from .records import DeviceRecords, Record, Standing
from .revocations import Revocations
from .team_config import Policy
from .tenancy import Tenancies
from .voids import Voids

MAX_DEVICES_PER_USER: Final = 64
"""Devices of one user whose lines are kept; nobody runs more hosts as one person."""

FORGET_EVERY: Final = 600.0
"""Seconds of the log's time between looks for lines that are too old to matter."""


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
        disputed: keys that several devices announce, as long as none has proved that it holds it.
        withdrawn: devices of members, ours perhaps too, whose announcement was edited or deleted, and
            that have said nothing since.
        clones: other agents that are this very device.
        conditions: (condition, subject, text) for health.
    """

    peers: tuple[DirectoryPeer, ...]
    own_role: MeshRole
    own_ip: IPv4Address | None
    own_static: bool
    conditions: tuple[tuple[Condition, str, str], ...]
    disputed: frozenset[PublicKey] = frozenset()
    withdrawn: frozenset[NodeId] = frozenset()
    clones: Clones = NO_CLONES


class Directory:
    """The directory of one team as this device sees it.

    Args:
        own: this device.
        own_key: our WireGuard key.
        subnet: the overlay network.
        preferred: the overlay address of the last run, taken again if it is free.
        own_run: which run of the agent this is, as our lines say it.
    """

    def __init__(
        self,
        *,
        own: NodeId,
        own_key: PublicKey,
        subnet: IPv4Network,
        preferred: IPv4Address | None = None,
        own_run: int | None = None,
    ) -> None:
        self._own = own
        self.own_run = own_run
        self._own_key = own_key
        self._subnet = subnet
        self._preferred = preferred
        self._devices: dict[DeviceKey, DeviceRecords] = {}
        self._nodes: dict[DeviceKey, NodeId] = {}
        self._devices_of: Counter[str] = Counter()
        self._voids = Voids()
        self._ledger = Ledger(subnet)
        self.tenancies = Tenancies()
        """Who has held which address, as far as we were there."""
        self._revocations = Revocations()
        self._keys = KeyHolders()
        self._withdrawn: dict[DeviceKey, int] = {}
        self._newest = self._horizon = -math.inf
        self._view: DirectoryView | None = None
        self._described: dict[DeviceKey, tuple[object, DirectoryPeer]] = {}
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
        self._view = None
        for message in messages:
            if message.edits is not None:
                self._voids.edit(message.edits)
                self._drop(message.edits, lambda _: True)
            for id_ in message.deletes:
                self._handle_deletion(message, id_)
            if message.text is not None:
                self._handle_text(message, message.text)

    def handle_membership(self, membership: Membership) -> None:
        """Take in who is in the team; its id, once known, is kept."""
        if membership.team_id is None and self.membership is not None:
            membership = replace(membership, team_id=self.membership.team_id)
        if membership != self.membership:
            self.membership = membership
            self._view = None

    def handle_peers_file(self, peers_file: PeersFile | None) -> None:
        """Take in `peers.json`; `None`: it does not exist."""
        self.peers_file = peers_file
        self._view = None

    def handle_devices(self, username: str, ids: frozenset[str], wall: float) -> None:
        """Take in which devices of a user are not revoked, at wall-clock time `wall`."""
        spoke_at = {
            key: min((record.sent_at for record in records.records.values()), default=wall)
            for key, records in self._devices.items()
            if key[0] == username
        }
        revoked = self._revocations.handle_devices(username, ids, spoke_at, wall)
        if revoked:
            self.counters["device-revoked"] += revoked
            self._view = None

    def handle_staleness(self, stale: bool) -> None:
        """Believe, or not any more, that who was in the team still is."""
        self.stale = stale
        self._view = None

    def handle_policy(self, policy: Policy) -> None:
        """Take in who may talk to whom, as the team says."""
        self.policy = policy
        self._view = None

    def confirm_key(self, node: NodeId, key: PublicKey) -> None:
        """Believe that `node` holds `key`: a check with credentials of that key has passed."""
        if self._keys.confirm(_key(node), key):
            self._view = None

    def try_next_holder(self, key: PublicKey) -> None:
        """Let the next of the devices that announce `key` count: no check of this one's passes."""
        self._keys.try_next(key)
        self._view = None

    def note_own_post(self, id_: int) -> None:
        """Remember that this very agent posted message `id_`."""
        self._own_posts.add(id_)
        if self._own_first_post is None:
            self._own_first_post = id_
        self._view = None

    # What comes out --------------------------------------------------------------------------

    def view(self) -> DirectoryView:
        """Return who is in, as of everything that came in; the same object while that is so."""
        if self._view is None:
            self._view = self._look()
        return self._view

    def next_seq(self, now_ms: int) -> int:
        """Return the number of our next line (design S2)."""
        own = self._devices.get(_key(self._own))
        return max(now_ms, own.standing().highest_seq + 1 if own else 1)

    def set_own_key(self, own_key: PublicKey) -> None:
        """Change our WireGuard key."""
        self._own_key = own_key
        self._view = None

    def claim(self, rng: Random) -> tuple[IPv4Address | None, int | None]:
        """Return address and `since` that our next line should claim.

        Stays the same until something speaks against it. `(None, None)`: our address is static,
        or no address is free (`Condition.ADDRESSES_EXHAUSTED`).
        """
        if self._entry(self._own) is not None:
            return None, None
        book = self._book(self._standings())
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

    def messages(self) -> Iterator[ChatMessage]:
        """Return what would make this directory again, for the cache."""
        for key, records in self._devices.items():
            if key not in self._revocations:
                current = records.standing().current
                for record in records.records.values():
                    text = encode(_brief(record, current))
                    yield ChatMessage(record.id, self._nodes[key], record.sent_at, text)

    # Inside ----------------------------------------------------------------------------------

    def _handle_text(self, message: ChatMessage, text: str) -> None:
        sender = message.sender
        if sender is None:
            self.counters["sender-unknown"] += 1
            return
        key = _key(sender)
        if message.revoked_device:
            self._revocations.add(key)
            self.counters["device-revoked"] += 1
            return
        try:
            line = decode(text)
        except AnnouncementError:
            self.counters["not-an-announcement"] += 1
            return
        deleted_by = self._voids.deleted_by(message.id, key[0], self._roles)
        if self._voids.edited(message.id) or deleted_by is not None:
            self.counters["edited-or-deleted"] += 1
            if self._devices_of[key[0]] < MAX_DEVICES_PER_USER:
                self._nodes.setdefault(key, sender)
                self._withdraw(key, message.id)
            return
        records = self._devices.get(key)
        if records is None:
            if self._devices_of[key[0]] >= MAX_DEVICES_PER_USER:
                self.counters["too-many-devices"] += 1
                return
            self._devices_of[key[0]] += 1
            records = self._devices[key] = DeviceRecords()
        self._nodes[key] = sender
        dropped = records.add(Record(message.id, message.sent_at, line))
        if isinstance(line, Announcement) and line.overlay_ip is not None:
            self._ledger.add(Claim(message.id, message.sent_at, key, line.overlay_ip, line.since))
        for id_ in dropped:
            self._ledger.remove(key, id_)

    def _handle_deletion(self, message: ChatMessage, id_: int) -> None:
        if message.sender is None:
            self.counters["sender-unknown"] += 1
            return
        self._voids.delete(id_, message.id, message.sender.username)
        self._drop(id_, lambda author: self._voids.deleted_by(id_, author, self._roles) is not None)

    def _drop(self, id_: int, may: Callable[[str], bool]) -> None:
        """Forget a message that is void."""
        for key, records in self._devices.items():
            if id_ in records.records and may(key[0]):
                records.discard(id_)
                self._withdraw(key, id_)
                self._ledger.remove(key, id_)
                self.counters["edited-or-deleted"] += 1

    def _forget_old(self, standings: dict[DeviceKey, Standing]) -> None:
        """Forget lines that a newcomer would not read either."""
        sent = (s.current.sent_at for s in standings.values() if s.current is not None)
        self._newest = max(sent, default=self._newest)
        if self._newest - WINDOW < self._horizon + FORGET_EVERY:
            return
        self._horizon = self._newest - WINDOW
        for key, records in self._devices.items():
            for id_ in records.forget_before(self._horizon):
                self._ledger.remove(key, id_)

    @property
    def _roles(self) -> Mapping[str, TeamRole]:
        return self.membership.roles if self.membership else {}

    def _is_member(self, username: str) -> bool:
        return self._roles.get(username) in MESH_ROLES

    def _entry(self, node: NodeId) -> PeersFileEntry | None:
        entries = self.peers_file.entries if self.peers_file else {}
        return entries.get((node.username, node.device))

    def _role(self, node: NodeId) -> MeshRole:
        entry = self._entry(node)
        return role_of(entry.role if entry else None, file_exists=self.peers_file is not None)

    def _static_addresses(self) -> set[IPv4Address]:
        return {e.ip for e in self.peers_file.entries.values()} if self.peers_file else set()

    def _standings(self) -> dict[DeviceKey, Standing]:
        """Return what each device of a member says, unless it is revoked."""
        return {
            key: records.standing()
            for key, records in self._devices.items()
            if key not in self._revocations and self._is_member(key[0])
        }

    def _book(self, standings: dict[DeviceKey, Standing]) -> AddressBook:
        """Fold the claims of everybody who counts and has no static address."""
        listed = self.peers_file.entries if self.peers_file else {}
        eligible = {
            key
            for key in standings
            if not listed or (key[0], self._nodes[key].device) not in listed
        }
        book = self._ledger.book(eligible, frozenset(self._static_addresses()))
        return self.tenancies.settle(book, self._ledger.claims_of, eligible)

    def _look(self) -> DirectoryView:
        standings = self._standings()
        self._forget_old(standings)
        book = self._book(standings)
        addresses = book.addresses()
        holdings = self._keys.holdings(standings, _key(self._own), self._own_key)
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
            if isinstance(line, Announcement) and holdings[line.public_key].holder != key:
                current, line = None, None
            if line is None and entry is None:
                continue
            ip = entry.ip if entry else addresses.get(key)
            peers.append(self._describe(key, current, role, ip))
        peers += self._unheard(listed.values(), own_role)
        peers.sort(key=lambda peer: (peer.username, peer.device))
        conditions = self._key_conditions(holdings) + self._address_conditions(standings, book)
        conditions += self._guest_conditions(standings)
        conditions += self._own_conditions(own_static=own_entry is not None)
        clones = self._clones()
        return DirectoryView(
            () if self.stale or clones.yields else tuple(peers),
            own_role,
            own_ip,
            own_entry is not None,
            tuple(sorted(conditions, key=lambda condition: (condition[0].code, *condition[1:]))),
            frozenset(key for key, holding in holdings.items() if not holding.proven),
            frozenset() if self.stale else self._withdrawn_devices(own_role),
            clones,
        )

    def _clones(self) -> Clones:
        own = self._devices.get(_key(self._own))
        return find_clones(
            own.records.values() if own is not None else (),
            own_run=self.own_run,
            own_posts=self._own_posts,
            first_post=self._own_first_post,
        )

    def _withdrawn_devices(self, own_role: MeshRole) -> frozenset[NodeId]:
        """Return whose latest line is void."""
        found = set()
        for key, id_ in self._withdrawn.items():
            node, records = self._nodes[key], self._devices.get(key)
            counts = key not in self._revocations and self._is_member(key[0])
            latest = max(records.records, default=0) if records is not None else 0
            may = node == self._own or may_talk(own_role, self._role(node), self.policy)
            if counts and may and latest < id_:
                found.add(node)
        return frozenset(found)

    def _withdraw(self, key: DeviceKey, id_: int) -> None:
        self._withdrawn[key] = max(id_, self._withdrawn.get(key, 0))

    def _describe(
        self, key: DeviceKey, current: Record | None, role: MeshRole, ip: IPv4Address | None
    ) -> DirectoryPeer:
        """Describe a device, by the same object for as long as nothing about it changes."""
        facts = (current, self._nodes[key], role, ip)
        known = self._described.get(key)
        if known is not None and known[0] == facts:
            return known[1]
        node = self._nodes[key]
        line = current.line if current is not None else None
        peer = DirectoryPeer(
            username=node.username,
            device=node.device,
            node=node,
            role=role,
            ip=ip,
            announcement=self._usable(line) if isinstance(line, Announcement) else None,
            announced_id=0 if current is None else current.id,
        )
        self._described[key] = (facts, peer)
        return peer

    def _unheard(
        self, entries: Iterable[PeersFileEntry], own_role: MeshRole
    ) -> Iterator[DirectoryPeer]:
        """Describe devices that are listed and have never said anything."""
        own = (self._own.username, self._own.device)
        for entry in entries:
            is_own = (entry.username, entry.device) == own
            if is_own or not self._is_member(entry.username):
                continue
            if may_talk(own_role, entry.role, self.policy):
                yield DirectoryPeer(
                    username=entry.username,
                    device=entry.device,
                    node=None,
                    role=entry.role,
                    ip=entry.ip,
                    announcement=None,
                    announced_id=0,
                )

    def _key_conditions(
        self, holdings: Mapping[PublicKey, KeyHolding]
    ) -> list[tuple[Condition, str, str]]:
        conditions = []
        for public_key, holding in holdings.items():
            if holding.others:
                others = ", ".join(str(self._nodes[device]) for device in holding.others)
                ours = holding.holder == _key(self._own)
                whose = "our own" if ours else f"{self._nodes[holding.holder]}'s"
                text = f"{others} announces {whose} WireGuard key and is ignored"
                conditions.append((Condition.DUPLICATE_KEY, str(public_key), text))
        return conditions

    def _address_conditions(
        self, standings: dict[DeviceKey, Standing], book: AddressBook
    ) -> list[tuple[Condition, str, str]]:
        """Say who claims what another holds; whoever is honest claims something else at once."""
        conditions = []
        for key, standing in standings.items():
            line = None if standing.current is None else standing.current.line
            if not isinstance(line, Announcement) or self._entry(self._nodes[key]) is not None:
                continue
            lease = None if line.overlay_ip is None else book.leases.get(line.overlay_ip)
            if lease is not None and lease.device != key:
                text = (
                    f"{self._nodes[key]} claims {line.overlay_ip}, which {self._nodes[lease.device]} "
                    "holds, and does not give way: hosts that start anew may believe it; list the "
                    "address in peers.json"
                )
                conditions.append((Condition.ADDRESS_CONTESTED, str(self._nodes[key]), text))
        return conditions

    def _guest_conditions(
        self, standings: dict[DeviceKey, Standing]
    ) -> list[tuple[Condition, str, str]]:
        """Say which guests could make themselves more: the file is anybody's who writes the team's."""
        if self.peers_file is None or self.policy is Policy.MESH:
            return []
        guests = {username for username, _ in standings}
        guests |= {entry.username for entry in self.peers_file.entries.values()}
        guests -= {
            entry.username
            for entry in self.peers_file.entries.values()
            if entry.role is not MeshRole.GUEST
        }
        return [
            (
                Condition.GUESTS_CAN_WRITE,
                username,
                f"{username} is a guest, and may edit peers.json: make this user a reader of the team",
            )
            for username in guests
            if self._roles.get(username) is TeamRole.WRITER
        ]

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
        clones = self._clones()
        if clones.exist:
            text = (
                f"another agent announces itself as {self._own}: a cloned disk or a home "
                "mounted twice; give each host a Keybase device of its own"
            )
            if clones.yields:
                text += "; this agent is the younger one: it keeps silent until it is started again"
            conditions.append((Condition.DUPLICATE_DEVICE, "", text))
        return conditions


def _brief(record: Record, current: Record | None) -> Announcement | Leave:
    """Leave out of a line what only the one in force is read for."""
    if record is current or not isinstance(record.line, Announcement) or record.line.legacy:
        return record.line
    return replace(record.line, endpoint=None, candidates=(), nat=None)


def _key(node: NodeId) -> DeviceKey:
    return (node.username, node.device_id)


def _free(ip: IPv4Address, subnet: IPv4Network, book: AddressBook, taken: set[IPv4Address]) -> bool:
    return ip in subnet and ip not in book.leases and ip not in taken
