"""Who should be logged in, and what to do about it. No I/O; the calls are in `keybase`."""

from dataclasses import dataclass
from typing import Final

from ..errors import LoginError


@dataclass(frozen=True, slots=True)
class Wanted:
    """The login that the environment asks for.

    Attributes:
        device: a named device, made at the first start; `None`: oneshot, as the paper key itself.
    """

    username: str
    device: str | None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who the service says that it is."""

    username: str
    device: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to do."""


@dataclass(frozen=True, slots=True)
class Oneshot:
    """Log in as the paper key's own device; nothing of it outlives the service."""

    username: str


@dataclass(frozen=True, slots=True)
class Provision:
    """Make a device of this name, which stays in the user's signature chain for ever."""

    username: str
    device: str


Step = Nothing | Oneshot | Provision


def next_step(present: LoggedIn | None, wanted: Wanted | None) -> Step:
    """Return what brings about the wanted login.

    Raises:
        LoginError: the volume holds another login, or there is none and none is wanted.
    """
    if present is None:
        if wanted is None:
            raise LoginError(
                "nobody is logged in to Keybase: set KBWG_KEYBASE_USERNAME and "
                "KBWG_KEYBASE_PAPERKEY_FILE, or mount the home of a service that is logged in"
            )
        if wanted.device is None:
            return Oneshot(wanted.username)
        return Provision(wanted.username, wanted.device)
    if wanted is not None and wanted.username != present.username:
        raise LoginError(
            f"the volume holds the login of {present.username}, and KBWG_KEYBASE_USERNAME is "
            f"{wanted.username}: give each login a volume of its own"
        )
    if wanted is not None and wanted.device not in (None, present.device):
        raise LoginError(
            f"the volume holds the device {present.device!r}, and KBWG_KEYBASE_DEVICE is "
            f"{wanted.device!r}: a device keeps its name; a new one needs a new volume"
        )
    return Nothing()


def refusal(step: Step, complaint: str) -> str | None:
    """Return what to tell the operator if trying again is pointless, else `None`."""
    if "device name already in use" in complaint and isinstance(step, Provision):
        return BURNT.format(device=step.device, username=step.username)
    if "paper key not found" in complaint:
        return "Keybase does not know this paper key: one of its words is mistyped"
    if "No paper keys available" in complaint:
        return (
            "this user has no such paper key, or it was revoked: make one with `keybase paperkey`"
        )
    return None


BURNT: Final = (
    "THE DEVICE NAME {device!r} IS BURNT: {username} has, or had, a device of that name whose keys "
    "are not in this volume, and Keybase never gives a name twice. Bring back the volume that was "
    "mounted at the state directory, or choose another KBWG_KEYBASE_DEVICE (and name it in "
    "peers.json); then revoke the lost device with `keybase device remove`"
)
"""Losing the volume of a named device loses its name for good."""
