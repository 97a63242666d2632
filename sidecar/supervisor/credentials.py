"""As whom the programs of the container run, and with which capabilities.

Started as root, the supervisor changes to the unprivileged user for each program; started as that
user (`--user kbwg`), it cannot give anything itself, and the agent goes through a launcher with
file capabilities. Both are setpriv(1): the launcher is a copy of it whose capabilities are only
permitted (`=p`), for with `=ep` it could not be run at all where one of them is not granted.
"""

import ctypes
import os
import pwd
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..capabilities import Capability
from ..errors import PrivilegeError
from ..host import HostState

USER: Final = "kbwg"
"""The image's unprivileged user."""

LAUNCHER: Final = Path("/usr/local/libexec/kbwg/launch")
"""setpriv(1) with file capabilities; only the unprivileged user's group may run it."""

AGENT_CAPABILITIES: Final = (Capability.NET_ADMIN, Capability.NET_RAW)
"""All that the agent ever has: netlink asks for NET_ADMIN with every message, and the raw sockets
may have to be opened again."""

ROOT_GROUP: Final = 0

DEVICE_MODE: Final = 0o666
"""rw-rw-rw-: udev's mode of /dev/net/tun."""

SHARED_MODE: Final = 0o2775
"""rwxrwsr-x: what is made in the directory gets the directory's group."""

_NEEDED_AS_ROOT: Final = (Capability.SETUID, Capability.SETGID)

_PR_SET_NO_NEW_PRIVS: Final = 38
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The unprivileged user, and how to become it.

    Attributes:
        uid: the user's number.
        gid: its group's.
        change: whether programs must change to it; else we are it already.
        granted: capabilities that the container has for the agent.
    """

    uid: int
    gid: int
    change: bool
    granted: tuple[Capability, ...]

    @classmethod
    def of(cls, host: HostState) -> "Credentials":
        """Find out from what the container was given.

        Raises:
            PrivilegeError: the programs cannot be run as they must; says what to change.
        """
        granted = tuple(c for c in AGENT_CAPABILITIES if c in host.bounding)
        if host.uid != 0:
            return cls(host.uid, host.gid, change=False, granted=granted)
        missing = [c for c in _NEEDED_AS_ROOT if c not in host.effective]
        if missing:
            raise PrivilegeError(
                f"started as root, but without {' and '.join(c.name for c in missing)}: add "
                f"`--user {USER}`, so that nothing has to change its user, or --cap-add them"
            )
        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            raise PrivilegeError(f"this system has no user {USER}; the image has one") from None
        return cls(user.pw_uid, user.pw_gid, change=True, granted=granted)

    def agent_command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` as the user, with the agent's capabilities."""
        capabilities = ",".join(f"+{c.name.lower()}" for c in self.granted)
        raised = [f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
        keep = raised if self.granted else []
        if not self.change:
            return [str(LAUNCHER), *keep, "--", *argv] if self.granted else list(argv)
        user = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return ["setpriv", *user, *keep, "--", *argv]

    def open_device(self, path: Path) -> None:
        """Let the user open a device of the container, as udev lets everybody open /dev/net/tun.

        What can be done with it still needs NET_ADMIN. Harmless where it is not there.
        """
        if self.change and path.exists():
            with suppress(OSError):
                path.chmod(path.stat().st_mode | DEVICE_MODE)

    def own(self, *directories: Path, shared: bool = False) -> None:
        """Make directories the user's own, with all that an earlier owner left in them.

        Args:
            directories: where the programs write.
            shared: what is made there belongs to root's group, too.

        Raises:
            PrivilegeError: one cannot be made, or the user may not write it.
        """
        for directory in directories:
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                if self.change and directory.stat().st_uid != self.uid:
                    group = ROOT_GROUP if shared else self.gid
                    if shared:
                        # Before it is given away: then it would take CAP_FOWNER.
                        directory.chmod(SHARED_MODE)
                    for path in (directory, *directory.rglob("*")):
                        os.chown(path, self.uid, group, follow_symlinks=False)
            except OSError as error:
                raise PrivilegeError(
                    f"{directory} cannot be made {USER}'s own ({error.strerror}): mount a volume or "
                    f"a tmpfs there that user {self.uid} may write"
                ) from error
            if not self.change and not os.access(directory, os.W_OK | os.X_OK):
                raise PrivilegeError(
                    f"{directory} cannot be written by user {self.uid}: change the owner of what is "
                    "mounted there"
                )


def confine() -> None:
    """Take from the calling process, a child before its exec, the way to any privilege."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


Preparation = Callable[[], None]
