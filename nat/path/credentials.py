"""Who may check a pair, and who decides (RFC 8445 §5.3, §6.1.1)."""

from dataclasses import dataclass, field
from enum import Enum, auto


class Role(Enum):
    """Who nominates (RFC 8445 §6.1.1). Fixed for a peer's life: see `tie_breaker`."""

    CONTROLLING = auto()
    CONTROLLED = auto()

    @property
    def tie_breaker(self) -> int:
        """The extreme 64-bit value that makes RFC 8445 §7.3.1.1 always keep this role.

        A controlling agent with the largest tie-breaker answers every conflict with 487, and a
        controlled one with the smallest answers 487 too, so that a foreign agent gives way and
        ours never switches.
        """
        return 2**64 - 1 if self is Role.CONTROLLING else 0


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """Short-term credentials of one peer (RFC 8445 §5.3).

    They arrive as arguments: this package neither makes nor sends them. A check that we send
    has USERNAME `remote_ufrag:local_ufrag` and is protected by `remote_password`; one that we
    receive has `local_ufrag:remote_ufrag` and `local_password`. No two peers share a
    `local_ufrag`: it is how a check from an unknown address is told apart.
    """

    local_ufrag: str
    local_password: str = field(repr=False)
    remote_ufrag: str
    remote_password: str = field(repr=False)
