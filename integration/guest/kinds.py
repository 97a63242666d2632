"""Which guest is meant by a name."""

from collections.abc import Callable

from . import GuestName
from .job import Guest
from .qemu import Qemu
from .uml import UserModeLinux


def guest(name: GuestName, say: Callable[[str], None]) -> Guest:
    """Return the guest of a kind.

    Args:
        name: which.
        say: is told what takes long.
    """
    match name:
        case "qemu":
            return Qemu(say)
        case "uml":
            return UserModeLinux(say)
