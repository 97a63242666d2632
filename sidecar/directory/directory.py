"""Who is in the mesh, with which key, address and candidates (design S4, A1 to A3).

Messages, members and `peers.json` come in, in any order and any number of times; `view()` is a
function of the set of what came in.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from random import Random

from ..announcement import Announcement
from ..identity import DeviceKey, NodeId, PublicKey
from ..keybase.models import ChatMessage, Membership
from ..peers_file import PeersFile
from ..team_config import Policy
from .addressing import AddressBook
from .clones import Clones, find_clones
from .conditions import address_conditions, guest_conditions, key_conditions, own_conditions
from .key_holders import KeyHolders, KeyHolding
from .lines import Lines
from .own_claim import OwnClaim
from .portraits import Portraits, unheard
from .records import Standing
from .team import Team
from .tenancy import Tenancies
from .view import DirectoryPeer, DirectoryView


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
        self.own_run = own_run
        self.tenancies = Tenancies()
        """Who has held which address, as far as we were there."""
        self._own = own
        self._own_key = own_key
        self._team = Team(own)
        self._lines = Lines(subnet)
        self._keys = KeyHolders()
        self._own_claim = OwnClaim(own.key, subnet, preferred)
        self._own_posts: set[int] = set()
        self._own_first_post: int | None = None
        self._stale = False
        self._portraits = Portraits(subnet)
        self._view: DirectoryView | None = None

    # What comes in ---------------------------------------------------------------------------

    def handle_messages(self, messages: Iterable[ChatMessage]) -> None:
        """Take in messages of the announce channel."""
        self._lines.handle_messages(messages, self._team.roles)
        self._view = None

    def handle_membership(self, membership: Membership) -> None:
        """Take in who is in the team; its id, once known, is kept."""
        if self._team.handle_membership(membership):
            self._view = None

    def handle_peers_file(self, peers_file: PeersFile | None) -> None:
        """Take in `peers.json`; `None`: it does not exist."""
        self._team.peers_file = peers_file
        self._view = None

    def handle_policy(self, policy: Policy) -> None:
        """Take in who may talk to whom, as the team says."""
        self._team.policy = policy
        self._view = None

    def handle_devices(self, username: str, ids: frozenset[str], wall: float) -> None:
        """Take in which devices of a user are not revoked, at wall-clock time `wall`."""
        if self._lines.handle_devices(username, ids, wall):
            self._view = None

    def handle_staleness(self, stale: bool) -> None:
        """Believe, or not any more, that who was in the team still is."""
        self._stale = stale
        self._view = None

    def confirm_key(self, node: NodeId, key: PublicKey) -> None:
        """Believe that `node` holds `key`: a check with credentials of that key has passed."""
        if self._keys.confirm(node.key, key):
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

    def set_own_key(self, own_key: PublicKey) -> None:
        """Change our WireGuard key."""
        self._own_key = own_key
        self._view = None

    # What comes out --------------------------------------------------------------------------

    def view(self) -> DirectoryView:
        """Return who is in, as of everything that came in; the same object while that is so."""
        if self._view is None:
            self._view = self._look()
        return self._view

    @property
    def membership(self) -> Membership | None:
        """Who is in the team; `None`: not known yet."""
        return self._team.membership

    @property
    def peers_file(self) -> PeersFile | None:
        """What `peers.json` lists; `None`: it does not exist, or is not known yet."""
        return self._team.peers_file

    @property
    def counters(self) -> Counter[str]:
        """Messages that changed nothing, by reason (`sidecar/LOGGING.md`)."""
        return self._lines.counters

    def next_seq(self, now_ms: int) -> int:
        """Return the number of our next line (design S2)."""
        return max(now_ms, self._lines.highest_seq(self._own.key) + 1)

    def claim(self, rng: Random) -> tuple[IPv4Address | None, int | None]:
        """Return address and `since` that our next line should claim.

        Stays the same until something speaks against it. `(None, None)`: our address is static,
        or no address is free (`Condition.ADDRESSES_EXHAUSTED`).
        """
        if self._team.entry(self._own) is not None:
            return None, None
        book = self._book(self._standings())
        return self._own_claim.decide(book, self._team.static_addresses, rng)

    def messages(self) -> Iterator[ChatMessage]:
        """Return what would make this directory again, for the cache."""
        return self._lines.messages()

    # Inside ----------------------------------------------------------------------------------

    def _standings(self) -> dict[DeviceKey, Standing]:
        return self._lines.standings(self._team.is_member)

    def _book(self, standings: Mapping[DeviceKey, Standing]) -> AddressBook:
        """Fold the claims of everybody who counts and has no static address."""
        nodes, ledger = self._lines.nodes, self._lines.ledger
        eligible = {key for key in standings if self._team.entry(nodes[key]) is None}
        book = ledger.book(eligible, self._team.static_addresses)
        return self.tenancies.settle(book, ledger.claims_of, eligible)

    def _look(self) -> DirectoryView:
        own, team, nodes = self._own, self._team, self._lines.nodes
        standings = self._standings()
        self._lines.forget_old(standings)
        book = self._book(standings)
        addresses = book.addresses()
        holdings = self._keys.holdings(standings, own.key, self._own_key)
        peers = sorted(
            self._peers(standings, holdings, addresses),
            key=lambda peer: (peer.username, peer.device),
        )
        clones = self._clones()
        conditions = [
            *key_conditions(holdings, own.key, nodes),
            *address_conditions(standings, book, team, nodes),
            *guest_conditions(standings, team),
            *own_conditions(own, team, clones),
        ]
        entry = team.entry(own)
        return DirectoryView(
            peers=() if self._stale or clones.yields else tuple(peers),
            own_role=team.own_role,
            own_ip=entry.ip if entry else addresses.get(own.key),
            own_static=entry is not None,
            conditions=tuple(sorted(conditions, key=lambda c: (c[0].code, *c[1:]))),
            disputed=frozenset(key for key, holding in holdings.items() if not holding.proven),
            withdrawn=frozenset() if self._stale else frozenset(self._withdrawn()),
            clones=clones,
        )

    def _peers(
        self,
        standings: Mapping[DeviceKey, Standing],
        holdings: Mapping[PublicKey, KeyHolding],
        addresses: Mapping[DeviceKey, IPv4Address],
    ) -> Iterator[DirectoryPeer]:
        """Describe the devices that may talk to us, heard of or only listed."""
        team = self._team
        listed = dict(team.entries)
        listed.pop((self._own.username, self._own.device), None)
        for key, standing in standings.items():
            node = self._lines.nodes[key]
            entry = listed.pop((node.username, node.device), None)
            role = team.role(node)
            if key == self._own.key or not team.may_talk(role):
                continue
            current = standing.current
            line = None if current is None else current.line
            if isinstance(line, Announcement) and holdings[line.public_key].holder != key:
                current, line = None, None
            if line is not None or entry is not None:
                ip = entry.ip if entry else addresses.get(key)
                yield self._portraits.heard(node, current, role, ip)
        for entry in listed.values():
            if team.is_member(entry.username) and team.may_talk(entry.role):
                yield unheard(entry)

    def _withdrawn(self) -> Iterator[NodeId]:
        """Return whose latest line is void."""
        for node in self._lines.withdrawn(self._team.is_member):
            if node == self._own or self._team.may_talk(self._team.role(node)):
                yield node

    def _clones(self) -> Clones:
        return find_clones(
            self._lines.of(self._own.key),
            own_run=self.own_run,
            own_posts=self._own_posts,
            first_post=self._own_first_post,
        )
