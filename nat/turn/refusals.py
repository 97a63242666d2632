"""What the error codes of a TURN server mean for us (RFC 8656 §7.4, §8.3, §10.3, §12.3)."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ..candidate import is_reachable_address
from .events import Trouble
from .message import TurnError, TurnMessage
from .server import TurnServer, TurnTransport

SOON: Final = 10.0
"""Seconds: an error of the server's own."""

MINUTE: Final = 60.0
"""Seconds: quota and capacity, for which RFC 8656 §7.4 asks for a minute at least; and wrong
credentials, which only an operator can mend."""

LONG: Final = 300.0
"""Seconds: what a server does not want or does not know, until it is configured otherwise."""

_MEANING: Final[Mapping[int, tuple[Trouble, float]]] = {
    TurnError.TRY_ALTERNATE: (Trouble.UNSUPPORTED, LONG),
    TurnError.BAD_REQUEST: (Trouble.UNSUPPORTED, MINUTE),
    TurnError.UNAUTHENTICATED: (Trouble.CREDENTIALS, MINUTE),
    TurnError.FORBIDDEN: (Trouble.FORBIDDEN, LONG),
    TurnError.UNKNOWN_ATTRIBUTE: (Trouble.UNSUPPORTED, LONG),
    TurnError.ALLOCATION_MISMATCH: (Trouble.FORGOTTEN, 0.0),
    TurnError.FAMILY_NOT_SUPPORTED: (Trouble.UNSUPPORTED, LONG),
    TurnError.WRONG_CREDENTIALS: (Trouble.CREDENTIALS, MINUTE),
    TurnError.TRANSPORT_NOT_SUPPORTED: (Trouble.UNSUPPORTED, LONG),
    TurnError.PEER_FAMILY_MISMATCH: (Trouble.UNSUPPORTED, LONG),
    TurnError.QUOTA_REACHED: (Trouble.QUOTA, MINUTE),
    TurnError.SERVER_ERROR: (Trouble.FAULT, SOON),
    TurnError.INSUFFICIENT_CAPACITY: (Trouble.CAPACITY, MINUTE),
}


FATAL: Final = frozenset(
    {TurnError.UNAUTHENTICATED, TurnError.ALLOCATION_MISMATCH, TurnError.WRONG_CREDENTIALS}
)
"""Answers to any request after which there is no allocation, or none of ours."""


def trouble(code: int) -> Trouble:
    """Return what an error code says, for a person."""
    return _MEANING.get(code, (Trouble.FAULT, MINUTE))[0]


def retry_after(code: int) -> float:
    """Return the seconds after which the same may be asked again."""
    return _MEANING.get(code, (Trouble.FAULT, MINUTE))[1]


def redirection(server: TurnServer, code: int, message: TurnMessage) -> TurnServer | None:
    """Return where a 300 sends us; `None`: nowhere that we can go (RFC 8489 §10).

    A server behind TLS must prove a name, so that its successor needs one, too. Before we have
    logged in anybody on the way can answer so: not to this host, and to nothing but a name.
    """
    if code != TurnError.TRY_ALTERNATE or message.alternate is None or not message.alternate.port:
        return None
    host = message.alternate_domain
    if host is None:
        if server.transport is TurnTransport.TLS or not is_reachable_address(message.alternate.ip):
            return None
        host = str(message.alternate.ip)
    elif not _DOMAIN.fullmatch(host):
        return None
    return replace(server, host=host, port=message.alternate.port)


_DOMAIN: Final = re.compile(r"(?=.{1,253}\Z)(?:(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!\Z)|\Z))+")
"""A host name (RFC 1123 §2.1): what the resolver and TLS take without an error of their own."""
