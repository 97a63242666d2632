"""Everything that goes wrong in a lab.

LabError
├── TopologyError    a compose file the labs do not understand, or a variable it lacks
├── CommandError     a command in a node failed or took too long
└── LabTimeoutError  something awaited did not happen in time
"""

from collections.abc import Sequence


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and what would mend it."""


class TopologyError(LabError):
    """A compose file is not one that the labs understand; names the place in the file."""


class LabTimeoutError(LabError):
    """A condition did not come true in time."""


class CommandError(LabError):
    """A command in a node failed.

    Attributes:
        returncode: its exit status, negative for a signal; `None`: it was ended for its time.
        stdout: what it printed.
        stderr: what it complained of.
    """

    def __init__(
        self,
        node: str,
        argv: Sequence[str],
        *,
        returncode: int | None,
        stdout: str,
        stderr: str,
    ) -> None:
        outcome = "took too long" if returncode is None else f"exited with {returncode}"
        said = (stderr.strip() or stdout.strip())[-2000:]
        super().__init__(f"{node}: `{' '.join(argv)}` {outcome}" + (f":\n{said}" if said else ""))
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
