"""Errors raised by `nat`.

* `NatError`
    * `StunError`: a datagram is not a well-formed STUN message
    * `CandidateError`: a text is not a candidate
    * `PortMappingError`: a message is not well-formed PCP or NAT-PMP
    * `SharedPortError`: the shared port cannot be opened (privilege, family, port)
"""


class NatError(Exception):
    """Base class of every error that `nat` raises on purpose."""


class StunError(NatError):
    """A datagram claims to be STUN but is not a well-formed message (RFC 8489 §6)."""


class CandidateError(NatError):
    """A text is not a candidate attribute (RFC 8839 §5.1), or names one that we refuse."""


class PortMappingError(NatError):
    """A gateway's message is not a well-formed response (RFC 6887 §7.2, RFC 6886 §3.5)."""


class SharedPortError(NatError):
    """The socket that shares WireGuard's port cannot be opened."""
