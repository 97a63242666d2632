"""Codec of NAT-PMP (RFC 6886): the public address, and mapping a UDP port."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final

from ..errors import PortMappingError

VERSION: Final = 0
"""Of NAT-PMP; PCP, its successor on the same port, is version 2."""


class Opcode(IntEnum):
    """What is asked (RFC 6886 §3.2, §3.3)."""

    PUBLIC_ADDRESS = 0
    MAP_UDP = 1


class Result(IntEnum):
    """Result codes (RFC 6886 §3.5)."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


@dataclass(frozen=True, slots=True)
class Response:
    """A decoded response.

    Attributes:
        opcode: as a number, for it may be one that we do not know.
        result: as a number, likewise.
        epoch: seconds since the gateway's table was made (RFC 6886 §3.6).
        public: the gateway's public address, in an answer to `PUBLIC_ADDRESS`.
        internal_port, external_port, lifetime: of an answer to `MAP_UDP`.
    """

    opcode: int
    result: int
    epoch: int
    public: IPv4Address | None = None
    internal_port: int = 0
    external_port: int = 0
    lifetime: int = 0


def public_address_request() -> bytes:
    """Encode the request for the public address (RFC 6886 §3.2)."""
    return struct.pack("!BB", VERSION, Opcode.PUBLIC_ADDRESS)


def map_request(internal_port: int, suggested_port: int, lifetime: int) -> bytes:
    """Encode a UDP mapping; lifetime 0 and port 0 delete it (RFC 6886 §3.3, §3.4)."""
    return struct.pack("!BBxxHHI", VERSION, Opcode.MAP_UDP, internal_port, suggested_port, lifetime)


def parse(payload: bytes) -> Response:
    """Decode a response.

    Raises:
        PortMappingError: not a response, of another version, or truncated.
    """
    if len(payload) < _HEADER.size:
        raise PortMappingError("truncated NAT-PMP message")
    version, opcode, result, epoch = _HEADER.unpack_from(payload)
    if version != VERSION or not opcode & _RESPONSE:
        raise PortMappingError("not a NAT-PMP response")
    opcode &= ~_RESPONSE
    if result != Result.SUCCESS:
        # Errors may end after the header, whatever was asked (RFC 6886 §3.5).
        return Response(opcode, result, epoch)
    rest = payload[_HEADER.size :]
    if opcode == Opcode.PUBLIC_ADDRESS and len(rest) >= 4:
        return Response(opcode, result, epoch, public=IPv4Address(rest[:4]))
    if opcode == Opcode.MAP_UDP and len(rest) >= _MAP.size:
        internal, external, lifetime = _MAP.unpack_from(rest)
        return Response(opcode, result, epoch, None, internal, external, lifetime)
    raise PortMappingError("truncated NAT-PMP response, or one to nothing that we ask")


def describe(result: int) -> str:
    """Name a result code as the RFC does."""
    return Result(result).name if result in Result.__members__.values() else f"result {result}"


_RESPONSE: Final = 0x80
"""Added to the opcode in responses (RFC 6886 §3.5)."""

_HEADER: Final = struct.Struct("!BBHI")
"""Version, opcode, result, seconds since the start of the epoch."""

_MAP: Final = struct.Struct("!HHI")
"""Internal port, mapped external port, lifetime."""
