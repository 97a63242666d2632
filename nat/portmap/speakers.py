"""How to ask for one mapping in PCP and in NAT-PMP, and what an answer means."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from ..machine import Endpoint
from . import natpmp, pcp
from .values import UDP, Granted, Refused


@dataclass(frozen=True, slots=True)
class Speaks:
    """The gateway does not speak this protocol, but that it answered at all says which it does.

    Attributes:
        natpmp: whether it is NAT-PMP (version 0), so that it can be asked in that.
    """

    natpmp: bool


Meaning = Granted | Refused | Speaks | None
"""`None`: the answer says nothing yet, or is not to what we asked."""


class PcpSpeaker:
    """MAP for one internal endpoint.

    Args:
        base: the internal endpoint.
        nonce: of the mapping; who does not know it can neither answer nor delete it.
    """

    def __init__(self, base: Endpoint, nonce: bytes) -> None:
        self._base = base
        self._nonce = nonce

    def requests(self, suggested: Endpoint, lifetime: int) -> list[bytes]:
        """Return the messages that ask for a mapping; lifetime 0 deletes it."""
        return [pcp.map_request(self._base.ip, self._nonce, self._base.port, suggested, lifetime)]

    def probe(self) -> bytes:
        """Return the message that asks for the epoch only."""
        return pcp.announce_request(self._base.ip)

    def understand(self, response: pcp.Response) -> Meaning:
        """Interpret a response of the gateway."""
        if response.result == pcp.Result.UNSUPP_VERSION:
            return Speaks(natpmp=response.version == natpmp.VERSION)
        fields = response.fields
        if response.version != pcp.VERSION or fields is None:
            return None
        if (fields.nonce, fields.protocol, fields.internal_port) != (
            self._nonce,
            UDP,
            self._base.port,
        ):
            return None  # of another mapping, or forged (RFC 6887 §11.4)
        if response.result != pcp.Result.SUCCESS:
            return Refused(f"PCP: {pcp.describe(response.result)}", response.lifetime)
        return Granted(fields.external, response.lifetime)


class NatPmpSpeaker:
    """A mapping and the public address, which are two questions in NAT-PMP.

    Args:
        base: the internal endpoint.
    """

    def __init__(self, base: Endpoint) -> None:
        self._base = base
        self._public: IPv4Address | None = None
        self._mapped: natpmp.Response | None = None

    def begin(self) -> None:
        """Forget what was answered before."""
        self._public = self._mapped = None

    def requests(self, suggested: Endpoint, lifetime: int) -> list[bytes]:
        """Return the messages that still need an answer; lifetime 0 deletes the mapping."""
        if lifetime == 0:
            return [natpmp.map_request(self._base.port, 0, 0)]
        missing = []
        if self._public is None:
            missing.append(natpmp.public_address_request())
        if self._mapped is None:
            missing.append(natpmp.map_request(self._base.port, suggested.port, lifetime))
        return missing

    def probe(self) -> bytes:
        """Return the message that asks for the epoch, and the public address with it."""
        return natpmp.public_address_request()

    def understand(self, response: natpmp.Response) -> Meaning:
        """Interpret a response of the gateway."""
        if response.result == natpmp.Result.UNSUPPORTED_VERSION:
            return Speaks(natpmp=True)  # it refuses ours, in its own
        if response.result != natpmp.Result.SUCCESS:
            return Refused(f"NAT-PMP: {natpmp.describe(response.result)}")
        if response.public is not None:
            self._public = response.public
        elif response.internal_port == self._base.port:
            self._mapped = response
            if response.lifetime == 0:  # deleted (RFC 6886 §3.4)
                return Granted(Endpoint(self._public or IPv4Address(0), 0), 0)
        if self._public is None or self._mapped is None:
            return None
        external = Endpoint(self._public, self._mapped.external_port)
        granted = Granted(external, self._mapped.lifetime)
        self.begin()  # the next answer belongs to the next question
        return granted
