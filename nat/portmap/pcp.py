"""Codec of PCP, the Port Control Protocol (RFC 6887): MAP, ANNOUNCE, and refused versions."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..errors import PortMappingError
from ..machine import Endpoint, IPAddress
from .values import UDP

VERSION: Final = 2
"""Of RFC 6887; NAT-PMP, its predecessor, is version 0."""

NONCE_SIZE: Final = 12
"""Bytes of a mapping nonce (RFC 6887 §11.1)."""

MAX_SIZE: Final = 1100
"""Bytes of the longest message (RFC 6887 §7)."""


class Opcode(IntEnum):
    """What is asked (RFC 6887 §19.2)."""

    ANNOUNCE = 0
    MAP = 1


class Result(IntEnum):
    """Result codes (RFC 6887 §7.4)."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


@dataclass(frozen=True, slots=True)
class MapFields:
    """What MAP says beside the header (RFC 6887 §11.1)."""

    nonce: bytes
    protocol: int
    internal_port: int
    external: Endpoint


@dataclass(frozen=True, slots=True)
class Response:
    """A decoded response.

    Attributes:
        version: that the server speaks; with `UNSUPP_VERSION` another than ours.
        opcode: as a number, for it may be one that we do not know.
        result: as a number, likewise.
        lifetime: seconds: of the mapping, or how long an error will last (RFC 6887 §7.2).
        epoch: seconds that the server has kept its mappings (RFC 6887 §8.5).
        fields: of MAP; `None` for other opcodes.
    """

    version: int
    opcode: int
    result: int
    lifetime: int
    epoch: int
    fields: MapFields | None = None


def map_request(
    client: IPAddress, nonce: bytes, internal_port: int, suggested: Endpoint, lifetime: int
) -> bytes:
    """Encode MAP for UDP; lifetime 0 deletes the mapping (RFC 6887 §11.1, §15)."""
    fields = struct.pack("!B3xHH", UDP, internal_port, suggested.port)
    body = nonce + fields + _address(suggested.ip)
    return _header(Opcode.MAP, lifetime, client) + body


def announce_request(client: IPAddress) -> bytes:
    """Encode ANNOUNCE, which asks for nothing but the epoch (RFC 6887 §14.1)."""
    return _header(Opcode.ANNOUNCE, 0, client)


def is_pcp(payload: bytes) -> bool:
    """Tell whether a message from a gateway is of PCP, rather than of NAT-PMP."""
    return payload[:1] != b"\0"


def parse(payload: bytes) -> Response:
    """Decode a response; options are not looked at.

    Raises:
        PortMappingError: not a response, truncated, or of a size that no message has.
    """
    if not _HEADER.size <= len(payload) <= MAX_SIZE or len(payload) % 4:
        raise PortMappingError("no PCP message has this size")
    version, opcode, result, lifetime, epoch = _HEADER.unpack_from(payload)
    if not opcode & _RESPONSE:
        raise PortMappingError("a request, not a response")
    opcode &= ~_RESPONSE
    fields = None
    if version == VERSION and opcode == Opcode.MAP and result != Result.UNSUPP_VERSION:
        if len(payload) < _HEADER.size + _MAP.size:
            raise PortMappingError("MAP without its fields")
        nonce, protocol, internal, external, address = _MAP.unpack_from(payload, _HEADER.size)
        fields = MapFields(nonce, protocol, internal, Endpoint(_ip(address), external))
    return Response(version, opcode, result, lifetime, epoch, fields)


def describe(result: int) -> str:
    """Name a result code as the RFC does."""
    return Result(result).name if result in Result.__members__.values() else f"result {result}"


def unspecified(version: int) -> IPAddress:
    """Return the suggested external address of who has no preference (RFC 6887 §11.1)."""
    return IPv4Address(0) if version == 4 else IPv6Address(0)


_RESPONSE: Final = 0x80
"""The R bit (RFC 6887 §7.2)."""

_HEADER: Final = struct.Struct("!BBxBII12x")
"""Response: version, R and opcode, result, lifetime, epoch, reserved (RFC 6887 §7.2)."""

_MAP: Final = struct.Struct("!12sB3xHH16s")
"""Nonce, protocol, internal port, external port, external address (RFC 6887 §11.1)."""


def _header(opcode: Opcode, lifetime: int, client: IPAddress) -> bytes:
    return struct.pack("!BB2xI", VERSION, opcode, lifetime) + _address(client)


def _address(ip: IPAddress) -> bytes:
    """Encode 128 bits; IPv4 addresses are mapped ones, also 0.0.0.0 (RFC 6887 §5)."""
    return ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed


def _ip(packed: bytes) -> IPAddress:
    address = IPv6Address(packed)
    return address.ipv4_mapped or address
