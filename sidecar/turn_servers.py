"""TURN servers as an operator names them: URIs of RFC 7065, and one set of credentials for all."""

from collections.abc import Callable, Iterable
from typing import Final

from nat.turn.server import (
    Credentials,
    SharedSecret,
    StaticCredentials,
    TurnServer,
    TurnTransport,
)

from .host_port import parse_host_port

TURN_PORT: Final = 3478
TURNS_PORT: Final = 5349
"""Default ports of TURN (RFC 8656 §3.1)."""

_TRANSPORTS: Final = {
    ("turn", ""): TurnTransport.UDP,
    ("turn", "udp"): TurnTransport.UDP,
    ("turn", "tcp"): TurnTransport.TCP,
    ("turns", ""): TurnTransport.TLS,
    ("turns", "tcp"): TurnTransport.TLS,
}
"""(scheme, transport) of a URI -> what we speak. DTLS is not among it: nobody lets that through
who does not let through UDP."""


def parse_turn_uri(uri: str, credentials: Credentials | None = None) -> TurnServer:
    """Read `turn:host[:port][?transport=udp|tcp]` or `turns:host[:port][?transport=tcp]`.

    Raises:
        ValueError: it is neither.
    """
    address, _, query = uri.partition("?")
    scheme, colon, authority = address.partition(":")
    key, _, transport = query.partition("=")
    if not colon or scheme.lower() not in ("turn", "turns"):
        raise ValueError("a TURN server is written turn:host, or turns:host for TLS")
    if authority.startswith("//"):
        raise ValueError("a TURN URI has no //: turn:host")
    if query and key != "transport":
        raise ValueError("a TURN URI has nothing behind ? but transport=")
    known = _TRANSPORTS.get((scheme.lower(), transport.lower()))
    if known is None:
        raise ValueError("the transport of turn: is udp or tcp, that of turns: is tcp")
    default = TURNS_PORT if known is TurnTransport.TLS else TURN_PORT
    host, port = parse_host_port(authority, default)
    return TurnServer(host, port, known, credentials)


def turn_servers(
    uris: Iterable[str],
    *,
    username: str,
    password: str | None,
    secret: str | None,
    wall: Callable[[], float],
) -> tuple[TurnServer, ...]:
    """Return the servers with the credentials that they all take.

    Args:
        uris: valid ones.
        username: of static credentials; a part of time-limited ones.
        password: of static credentials.
        secret: what makes time-limited credentials; preferred.
        wall: tells the wall-clock time in seconds since 1970.
    """
    credentials: Credentials | None = None
    if secret is not None:
        credentials = SharedSecret(secret, username or "kbwg", wall)
    elif password is not None:
        credentials = StaticCredentials(username, password)
    return tuple(parse_turn_uri(uri, credentials) for uri in uris)
