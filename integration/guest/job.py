"""What both guests have in common: a command goes in; output, records and an exit status come out."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from ..errors import LabError

REPOSITORY: Final = Path(__file__).resolve().parents[2]

RECORDS: Final = 3
"""File descriptor on which a guest's command writes what is not for eyes."""

BUSYBOX: Final = Path("/bin/busybox")
"""Of Debian's busybox-static: what runs in a guest before it has a root."""

CONSOLE_LINES: Final = 40
"""How much of a guest's console an error about it shows: a panic with its trace."""

Sink = Callable[[bytes], object]


class GuestError(LabError):
    """A guest ended before its command did; what it said last on its console is in the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command for a guest. It runs as root, in the checkout, with nothing to read from."""

    argv: Sequence[str]

    seconds: float
    """How long the guest may take altogether, by the host's clock."""

    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def script(self) -> str:
        """The same for a shell in the guest, whose environment is not that of the host."""
        environment = {
            "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": os.environ.get("HOME", "/root"),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            # The host's are read; a guest's own would die with it.
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.environment,
        }
        variables = [f"{name}={value}" for name, value in environment.items()]
        return (
            f"cd {shlex.quote(str(REPOSITORY))} || exit 126\n"
            f"exec env -i {shlex.join(variables)} {shlex.join(self.argv)}\n"
        )


class Guest(Protocol):
    """A kind of guest; each `run` is a fresh one."""

    def run(self, job: Job, output: Sink, records: Sink) -> int:
        """Boot, run a command to its end, halt.

        Args:
            job: the command.
            output: takes what the command writes to its standard output and error, as it comes.
            records: takes what it writes to the file descriptor `RECORDS`.

        Returns:
            The command's exit status; 128 and the number for a signal.

        Raises:
            GuestError: the kernel panicked, did not boot, or the time was over.
            LabError: something is missing on this machine.
        """


def tail(console: Path) -> str:
    """Read the end of a console."""
    try:
        text = console.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(it said nothing)"
    return "\n".join(text.splitlines()[-CONSOLE_LINES:]) or "(it said nothing)"
