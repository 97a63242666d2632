"""The conversation with one gateway in PCP and NAT-PMP: what leaves, and what an answer means."""

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2s
from ipaddress import IPv4Address
from typing import Final

from ..errors import PortMappingError
from ..machine import Datagram, Endpoint
from . import natpmp, pcp
from .epoch import Epoch, just_started
from .speakers import Meaning, NatPmpSpeaker, PcpSpeaker, Speaks
from .values import SERVER_PORT, MappingProtocol, Uplink

LIFETIME: Final = 7200
"""Seconds that are asked for (RFC 6886 §3.3): what is left behind by a crash ends by then."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a datagram from the gateway says.

    Attributes:
        meaning: for the mapping; `None`: nothing, it only tells the epoch.
        continues: false if the gateway has lost its state since it was last heard.
        announced: whether it came by itself, to many.
        public: the gateway's public address, if that is what it tells.
    """

    protocol: MappingProtocol
    meaning: Meaning
    continues: bool
    announced: bool
    public: IPv4Address | None = None


class Conversation:
    """Asks one gateway about one mapping; part of a `Mapper`.

    Args:
        uplink: whose port is mapped, at which gateway.
        local: the endpoint of the socket towards the gateway.
        secret: from which the nonce comes.
    """

    def __init__(self, uplink: Uplink, local: Endpoint, secret: bytes) -> None:
        self._version = uplink.base.ip.version
        self._local = local
        self._server = Endpoint(uplink.gateway.ip, SERVER_PORT)
        self._pcp = PcpSpeaker(uplink.base, _nonce(secret, uplink.base))
        self._natpmp = NatPmpSpeaker(uplink.base)
        self._epochs = {MappingProtocol.PCP: Epoch(), MappingProtocol.NAT_PMP: Epoch()}
        self._outbox: list[Datagram] = []
        self.spoken: set[MappingProtocol] = set()
        """Protocols in which the gateway has answered."""

        self.ignored: Counter[str] = Counter()
        """Datagrams that were dropped, by reason."""

    def begin(self) -> None:
        """Forget what has been answered: what follows is a new question."""
        self._natpmp.begin()

    def ask(self, protocol: MappingProtocol, suggested: Endpoint) -> None:
        """Ask for the mapping, or for its renewal."""
        self._send(self._speaker(protocol).requests(suggested, LIFETIME))

    def delete(self, protocol: MappingProtocol) -> None:
        """Ask for the end of the mapping (RFC 6887 §15, RFC 6886 §3.4)."""
        nowhere = Endpoint(pcp.unspecified(self._version), 0)
        self._send(self._speaker(protocol).requests(nowhere, 0))

    def probe(self, protocol: MappingProtocol) -> None:
        """Ask for the epoch only."""
        self._send([self._speaker(protocol).probe()])

    def datagrams_to_send(self) -> list[Datagram]:
        """Take what was asked since the last call."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def hear(self, datagram: Datagram, now: float) -> Heard | None:
        """Read what came in; `None`: it is not from the gateway, or concerns nobody."""
        if datagram.source != self._server:
            self.ignored["not from the gateway"] += 1
            return None
        # Announcements go to a multicast address and another port (RFC 6887 §14.1.1).
        announced = datagram.destination != self._local
        try:
            if pcp.is_pcp(datagram.payload):
                return self._hear_pcp(pcp.parse(datagram.payload), announced, now)
            return self._hear_natpmp(natpmp.parse(datagram.payload), announced, now)
        except PortMappingError:
            self.ignored["malformed"] += 1
            return None

    def _hear_pcp(self, response: pcp.Response, announced: bool, now: float) -> Heard | None:
        meaning = self._pcp.understand(response)
        if isinstance(meaning, Speaks):
            return Heard(MappingProtocol.PCP, meaning, True, announced)
        if meaning is None and response.opcode != pcp.Opcode.ANNOUNCE:
            self.ignored["answer to nothing that was asked"] += 1
            return None
        self.spoken.add(MappingProtocol.PCP)
        continues = self._continues(MappingProtocol.PCP, response.epoch, announced, now)
        return Heard(MappingProtocol.PCP, meaning, continues, announced)

    def _hear_natpmp(self, response: natpmp.Response, announced: bool, now: float) -> Heard:
        # What everybody on the link may have sent is no half of an answer.
        meaning = None if announced else self._natpmp.understand(response)
        if isinstance(meaning, Speaks):
            return Heard(MappingProtocol.NAT_PMP, meaning, True, announced)
        self.spoken.add(MappingProtocol.NAT_PMP)
        continues = self._continues(MappingProtocol.NAT_PMP, response.epoch, announced, now)
        return Heard(MappingProtocol.NAT_PMP, meaning, continues, announced, response.public)

    def _continues(
        self, protocol: MappingProtocol, epoch: float, announced: bool, now: float
    ) -> bool:
        continues = self._epochs[protocol].continues(epoch, now)
        return continues and not (announced and just_started(epoch))

    def _speaker(self, protocol: MappingProtocol) -> PcpSpeaker | NatPmpSpeaker:
        return self._pcp if protocol is MappingProtocol.PCP else self._natpmp

    def _send(self, payloads: list[bytes]) -> None:
        self._outbox += [Datagram(self._local, self._server, payload) for payload in payloads]


def _nonce(secret: bytes, base: Endpoint) -> bytes:
    """Return the mapping nonce of a base: unguessable, and the same after a restart."""
    return blake2s(str(base).encode(), key=secret, digest_size=pcp.NONCE_SIZE).digest()
