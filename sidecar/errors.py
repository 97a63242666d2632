"""Errors of the agent, and the exit code that each ends it with.

* `SidecarError`
    * `StartError`: this start cannot work; the message says what to change (exit code 2)
        * `SettingsError`: the environment is unusable
        * `NotLoggedInError`, `TeamError`: Keybase does not let us in
        * `AddressError`: the subnet or the overlay address clashes
        * `InterfaceError`: the interface's name is taken by something that is not ours
        * `PortInUseError`: the listen port is taken
        * `PrivilegeError`: a capability or a device file is missing
        * `BackendUnavailableError`: no WireGuard of any kind
    * `KeybaseError`: a call to the Keybase CLI failed; the caller may try again
        * `KeybaseUnavailableError`: service or network down, or no answer in time
            * `LoggedOutError`: the service runs, and nobody is logged in
            * `RateLimitedError`: too many calls; says when there may be more
        * `IdentityChangedError`: another device is logged in than at the start
        * `KbfsError`: a file could not be read or written, which says nothing of its existence
    * `AnnouncementError`: a chat text is not an announcement of ours or of the predecessor
    * `PeersFileError`: `peers.json` is not what it should be
    * `TeamConfigError`: `kbwg.json` is not what it should be
    * `SupervisorError`: a program of the container cannot be run, or does not answer
        * `LoginError`: Keybase cannot be logged in as it is configured (exit code 2)
    * `BackendError`: WireGuard refused a change
    * `NftError`: nftables is missing or refused a change
    * `IdentityError`: not a key, or a shared secret of zeros
"""

from typing import ClassVar


class SidecarError(Exception):
    """Base class of every error that `sidecar` raises on purpose."""


class StartError(SidecarError):
    """The agent cannot start; its message is shown to the user as it is."""

    exit_code: ClassVar[int] = 2


class SettingsError(StartError):
    """A variable is missing or makes no sense."""


class NotLoggedInError(StartError):
    """The Keybase service has no logged-in device."""


class TeamError(StartError):
    """The team does not exist, or this user is not in it."""


class AddressError(StartError):
    """The subnet overlaps a local route, or our overlay address lies outside it."""


class InterfaceError(StartError):
    """An interface of this name exists and is not ours."""


class PortInUseError(StartError):
    """The listen port belongs to somebody else."""


class PrivilegeError(StartError):
    """A capability, device file or sysctl is missing."""


class BackendUnavailableError(StartError):
    """Neither the kernel nor user space offers WireGuard."""


class KeybaseError(SidecarError):
    """The Keybase CLI answered with an error."""


class KeybaseUnavailableError(KeybaseError):
    """The Keybase service or its network cannot be reached."""


class LoggedOutError(KeybaseUnavailableError):
    """Nobody is logged in to the service at present."""


class RateLimitedError(KeybaseUnavailableError):
    """Too many calls; `reset` seconds until more are allowed."""

    def __init__(self, message: str, reset: float) -> None:
        super().__init__(message)
        self.reset = reset


class IdentityChangedError(KeybaseError):
    """Another device is logged in than at the start: the agent must begin anew, as that one."""


class KbfsError(KeybaseError):
    """KBFS gave no answer about a file."""


class SupervisorError(SidecarError):
    """A program of the container cannot be run or does not answer."""


class LoginError(SupervisorError):
    """The login cannot work as it is configured; the message says what to change."""


class AnnouncementError(SidecarError):
    """A text is not an announcement; whoever posted it is ignored."""


class PeersFileError(SidecarError):
    """`peers.json` is torn, empty or invalid; the last good copy stays in force."""


class TeamConfigError(SidecarError):
    """`kbwg.json` is torn, empty or invalid; the last good copy stays in force."""


class BackendError(SidecarError):
    """WireGuard, or the network stack below it, refused a change."""


class NftError(SidecarError):
    """nftables is not there, or refused a change."""


class IdentityError(SidecarError):
    """Bytes are not a usable X25519 key."""
