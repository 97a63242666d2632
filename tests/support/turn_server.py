"""A TURN server that behaves as RFC 8656 says, with faults on command. It takes time as an argument.

Clients are told apart by any hashable value that stands for their 5-tuple.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random

from nat.machine import Datagram, Endpoint, IPAddress
from nat.stun import attributes
from nat.stun.attributes import Attribute
from nat.stun.wire import MessageClass, Method, encode
from nat.turn import message as turn
from nat.turn.framing import ChannelData, is_channel_data, parse_channel_data
from nat.turn.message import Family, TurnError, TurnMessage, Values
from nat.turn.server import Login

PERMISSION_LIFETIME = 300.0
CHANNEL_LIFETIME = 600.0
QUARANTINE = 300.0

LOGIN = Login("user", "secret")

REASONS = {code: code.name.replace("_", " ").title() for code in TurnError}


@dataclass
class Channel:
    number: int
    expires_at: float


@dataclass
class ServerAllocation:
    relayed: dict[int, Endpoint]
    username: str
    expires_at: float
    permissions: dict[IPAddress, float] = field(default_factory=dict)
    channels: dict[Endpoint, Channel] = field(default_factory=dict)
    past: dict[int, tuple[Endpoint, float]] = field(default_factory=dict)
    """Channel number -> whose it was last, and until when."""


class SimTurnServer:
    """Serves any number of clients.

    Args:
        ips: addresses to relay from, one a family.
        login: what it asks for; `None`: nothing.
        realm: of the credentials.
        padded: whether clients come over a stream.
    """

    def __init__(
        self,
        *ips: str,
        login: Login | None = LOGIN,
        realm: str = "example.org",
        padded: bool = False,
        first_port: int = 50000,
    ) -> None:
        self.login = login
        self.realm = realm
        self.silent = False
        self.lifetime = 600
        self.knows_families = True
        self.denied: set[IPAddress] = set()
        self.requests: Counter[Method] = Counter()
        """Requests that were answered, by method."""
        self.refusals: Counter[int] = Counter()
        """Error responses, by code."""
        self.channel_frames = 0
        """ChannelData that came from clients."""
        self.indications = 0
        """Send indications that came from clients."""
        self.undelivered = 0
        """Data of clients without a permission or a channel, and of peers without a permission."""
        self.violations = 0
        """Bindings that RFC 8656 §12 forbids a client to ask for."""
        self.allocations: dict[Hashable, ServerAllocation] = {}
        addresses = [ip_address(ip) for ip in ips or ("203.0.113.50",)]
        self._ips: dict[int, IPAddress] = {ip.version: ip for ip in addresses}
        self._padded = padded
        self._next_port = first_port
        self._nonce_number = 1
        self._faults: list[tuple[Method, int, Values, bool]] = []
        self._frames: list[tuple[Hashable, bytes]] = []
        self._datagrams: list[Datagram] = []
        self._rng = Random(5)

    # Faults -----------------------------------------------------------------------------------

    def fail(
        self,
        method: Method,
        code: int,
        *,
        times: int = 1,
        values: Values | None = None,
        before_authentication: bool = False,
    ) -> None:
        """Refuse the next requests of a method."""
        self._faults += [(method, code, values or [], before_authentication)] * times

    def change_nonce(self) -> None:
        """Let all nonces be stale."""
        self._nonce_number += 1

    def restart(self) -> None:
        """Forget everything."""
        self.allocations.clear()
        self.change_nonce()

    # The client's side ------------------------------------------------------------------------

    def receive(self, client: Hashable, frame: bytes, now: float) -> None:
        if self.silent:
            return
        self._expire(now)
        if is_channel_data(frame):
            self._on_channel_data(client, parse_channel_data(frame))
            return
        message = turn.parse(frame)
        if message.message_class is MessageClass.INDICATION:
            self._on_send(client, message)
            return
        self.requests[message.method] += 1
        self._on_request(client, message, now)

    def frames_to_send(self) -> list[tuple[Hashable, bytes]]:
        frames, self._frames = self._frames, []
        return frames

    # The peers' side --------------------------------------------------------------------------

    @property
    def relayed(self) -> tuple[Endpoint, ...]:
        return tuple(e for a in self.allocations.values() for e in a.relayed.values())

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        if self.silent:
            return
        self._expire(now)
        for client, allocation in self.allocations.items():
            if datagram.destination in allocation.relayed.values():
                self._to_client(client, allocation, datagram)

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    # Inside -----------------------------------------------------------------------------------

    def _on_request(self, client: Hashable, request: TurnMessage, now: float) -> None:
        if request.method is Method.BINDING:
            self._succeed(client, request, self._mapped(request), None)
            return
        fault = next((f for f in self._faults if f[0] is request.method), None)
        if fault is not None and fault[3]:
            self._faults.remove(fault)
            self._refuse(client, request, fault[1], None, fault[2])
            return
        key = self._authenticate(client, request)
        if key is None and self.login is not None:
            return
        if fault is not None:
            self._faults.remove(fault)
            self._refuse(client, request, fault[1], key, fault[2])
            return
        match request.method:
            case Method.ALLOCATE:
                self._allocate(client, request, key, now)
            case _ if client not in self.allocations:
                self._refuse(client, request, TurnError.ALLOCATION_MISMATCH, key)
            case _ if self.allocations[client].username != (request.username or ""):
                self._refuse(client, request, TurnError.WRONG_CREDENTIALS, key)
            case Method.REFRESH:
                self._refresh(client, request, key, now)
            case Method.CREATE_PERMISSION:
                self._permit(client, request, key, now)
            case Method.CHANNEL_BIND:
                self._bind(client, request, key, now)
            case _:
                self._refuse(client, request, TurnError.BAD_REQUEST, key)

    def _authenticate(self, client: Hashable, request: TurnMessage) -> bytes | None:
        if self.login is None:
            return None
        if request.integrity is None or request.realm != self.realm:
            self._challenge(client, request, TurnError.UNAUTHENTICATED)
            return None
        if request.nonce != self._nonce:
            self._challenge(client, request, TurnError.STALE_NONCE)
            return None
        text = f"{request.username}:{self.realm}:{self.login.password}"
        key = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        known = request.username == self.login.username
        if not known or not request.is_authentic(key):
            self._challenge(client, request, TurnError.UNAUTHENTICATED)
            return None
        return key

    @property
    def _nonce(self) -> bytes:
        return f"nonce-{self._nonce_number}".encode()

    def _challenge(self, client: Hashable, request: TurnMessage, code: int) -> None:
        values = [
            (Attribute.REALM, attributes.text(self.realm)),
            (Attribute.NONCE, self._nonce),
        ]
        self._refuse(client, request, code, None, values)

    def _allocate(
        self, client: Hashable, request: TurnMessage, key: bytes | None, now: float
    ) -> None:
        if client in self.allocations:
            self._refuse(client, request, TurnError.ALLOCATION_MISMATCH, key)
            return
        if request.requested_transport != turn.UDP_PROTOCOL:
            self._refuse(client, request, TurnError.TRANSPORT_NOT_SUPPORTED, key)
            return
        versions = {4}
        if self.knows_families:
            if request.requested_family == Family.IPV6:
                versions = {6}
            elif request.additional_family == Family.IPV6:
                versions = {4, 6}
        elif request.requested_family is not None:
            unknown = attributes.attribute_types([Attribute.REQUESTED_ADDRESS_FAMILY])
            values = [(Attribute.UNKNOWN_ATTRIBUTES, unknown)]
            self._refuse(client, request, TurnError.UNKNOWN_ATTRIBUTE, key, values)
            return
        versions &= set(self._ips)
        # RFC 8656 §7.2: a server that cannot do the first family says so, even if it has the other.
        if not versions or (request.requested_family is None and 4 not in versions):
            self._refuse(client, request, TurnError.FAMILY_NOT_SUPPORTED, key)
            return
        relayed = {v: Endpoint(self._ips[v], self._next_port) for v in sorted(versions)}
        self._next_port += 1
        username = request.username or ""
        self.allocations[client] = ServerAllocation(relayed, username, now + self.lifetime)
        values = [
            (Attribute.XOR_RELAYED_ADDRESS, attributes.xor_address(e, request.transaction_id))
            for e in relayed.values()
        ]
        values += [turn.lifetime(self.lifetime), *self._mapped(request)]
        self._succeed(client, request, values, key)

    def _refresh(
        self, client: Hashable, request: TurnMessage, key: bytes | None, now: float
    ) -> None:
        seconds = self.lifetime if request.lifetime is None else request.lifetime
        self.allocations[client].expires_at = now + seconds
        if seconds == 0:
            del self.allocations[client]
        self._succeed(client, request, [turn.lifetime(seconds)], key)

    def _permit(
        self, client: Hashable, request: TurnMessage, key: bytes | None, now: float
    ) -> None:
        ips = [peer.ip for peer in request.peers]
        if not ips:
            self._refuse(client, request, TurnError.BAD_REQUEST, key)
        elif any(ip in self.denied for ip in ips):
            self._refuse(client, request, TurnError.FORBIDDEN, key)
        else:
            for ip in ips:
                self.allocations[client].permissions[ip] = now + PERMISSION_LIFETIME
            self._succeed(client, request, [], key)

    def _bind(self, client: Hashable, request: TurnMessage, key: bytes | None, now: float) -> None:
        allocation = self.allocations[client]
        number, peers = request.channel, request.peers
        if number is None or len(peers) != 1 or not 0x4000 <= number <= 0x4FFF:
            self._refuse(client, request, TurnError.BAD_REQUEST, key)
            return
        remote = peers[0]
        was, until = allocation.past.get(number, (remote, 0.0))
        if was != remote and now < until + QUARANTINE:
            self.violations += 1
        known = allocation.channels.get(remote)
        taken = {c.number: r for r, c in allocation.channels.items()}
        if (known is not None and known.number != number) or taken.get(number, remote) != remote:
            self._refuse(client, request, TurnError.BAD_REQUEST, key)
        elif remote.ip in self.denied:
            self._refuse(client, request, TurnError.FORBIDDEN, key)
        else:
            allocation.channels[remote] = Channel(number, now + CHANNEL_LIFETIME)
            allocation.past[number] = (remote, now + CHANNEL_LIFETIME)
            allocation.permissions[remote.ip] = now + PERMISSION_LIFETIME
            self._succeed(client, request, [], key)

    def _on_send(self, client: Hashable, message: TurnMessage) -> None:
        self.indications += 1
        allocation = self.allocations.get(client)
        assert len(message.peers) == 1
        assert message.data is not None
        remote = message.peers[0]
        if allocation is None or remote.ip not in allocation.permissions:
            self.undelivered += 1
            return
        self._to_peer(allocation, remote, message.data)

    def _on_channel_data(self, client: Hashable, data: ChannelData) -> None:
        self.channel_frames += 1
        allocation = self.allocations.get(client)
        for remote, channel in (allocation.channels if allocation else {}).items():
            assert allocation is not None
            if channel.number == data.channel and remote.ip in allocation.permissions:
                self._to_peer(allocation, remote, data.payload)
                return
        self.undelivered += 1

    def _to_peer(self, allocation: ServerAllocation, remote: Endpoint, payload: bytes) -> None:
        self._datagrams.append(Datagram(allocation.relayed[remote.ip.version], remote, payload))

    def _to_client(
        self, client: Hashable, allocation: ServerAllocation, datagram: Datagram
    ) -> None:
        if datagram.source.ip not in allocation.permissions:
            self.undelivered += 1
            return
        channel = allocation.channels.get(datagram.source)
        if channel is not None:
            frame = ChannelData(channel.number, datagram.payload).encode(padded=self._padded)
        else:
            transaction_id = self._rng.randbytes(12)
            values = [
                *turn.peer_addresses([datagram.source], transaction_id),
                (Attribute.DATA, datagram.payload),
            ]
            frame = encode(Method.DATA, MessageClass.INDICATION, transaction_id, values)
        self._frames.append((client, frame))

    def _expire(self, now: float) -> None:
        self.allocations = {c: a for c, a in self.allocations.items() if now < a.expires_at}
        for allocation in self.allocations.values():
            allocation.permissions = {i: e for i, e in allocation.permissions.items() if now < e}
            allocation.channels = {
                r: c for r, c in allocation.channels.items() if now < c.expires_at
            }

    def _mapped(self, request: TurnMessage) -> Values:
        mapped = Endpoint(ip_address("198.51.100.9"), 40000)
        return [
            (Attribute.XOR_MAPPED_ADDRESS, attributes.xor_address(mapped, request.transaction_id))
        ]

    def _succeed(
        self, client: Hashable, request: TurnMessage, values: Values, key: bytes | None
    ) -> None:
        frame = encode(request.method, MessageClass.SUCCESS, request.transaction_id, values, key)
        self._frames.append((client, frame))

    def _refuse(
        self,
        client: Hashable,
        request: TurnMessage,
        code: int,
        key: bytes | None,
        values: Values | None = None,
    ) -> None:
        self.refusals[code] += 1
        reason = REASONS[TurnError(code)]
        all_values = [(Attribute.ERROR_CODE, attributes.error_code(code, reason)), *(values or [])]
        frame = encode(request.method, MessageClass.ERROR, request.transaction_id, all_values, key)
        self._frames.append((client, frame))
