"""What both sides of a campaign send: an authentic check that nominates nothing (RFC 8445 §7.2.2).

Its answer is not awaited. Whoever it reaches checks the pair in turn, and that check is an ordinary
one of the path machine.
"""

from random import Random

from ..candidate import CandidateType, compute_priority
from ..path.credentials import IceCredentials, Role
from ..stun.message import TRANSACTION_ID_SIZE, check_request


def make_probe(credentials: IceCredentials, role: Role, rng: Random) -> bytes:
    """Make a check with an id of its own."""
    return check_request(
        rng.randbytes(TRANSACTION_ID_SIZE),
        username=f"{credentials.remote_ufrag}:{credentials.local_ufrag}",
        password=credentials.remote_password,
        priority=compute_priority(CandidateType.PEER_REFLEXIVE),
        controlling=role is Role.CONTROLLING,
        tie_breaker=role.tie_breaker,
        use_candidate=False,
        nomination=None,
    )
