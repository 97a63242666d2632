"""Processes that can be signalled without ever hitting a stranger who inherited their pid."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import LabTimeoutError

KILL_SECONDS: Final = 10.0
"""How long killed processes may take to vanish; only one stuck in the kernel takes longer."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process, known by its pid and by when it started (clock ticks since boot)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Look at a pid; `None`: there is no such process, or only its unreaped remains."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name, in parentheses, may hold anything; what follows are plain fields from state on.
        fields = stat[stat.rindex(")") + 2 :].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def cpu_seconds(self) -> float:
        """Say how much CPU it has spent, user and system (proc(5), `utime` and `stime`).

        Raises:
            FileNotFoundError: it is gone.
        """
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat[stat.rindex(")") + 2 :].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; false if the process is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # The handle holds on to whoever has the pid at present: now look who that is.
            if not self.alive:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


def child_of(pid: int) -> Process | None:
    """Find the first child of a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process.of(int(children[0])) if children else None


def in_network_namespace(path: Path) -> list[Process]:
    """List the processes whose network namespace is the one at `path`."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return []
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        process = Process.of(int(entry.name))
        try:
            actual = os.stat(f"/proc/{entry.name}/ns/net")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        same = (actual.st_dev, actual.st_ino) == (wanted.st_dev, wanted.st_ino)
        if same and process is not None:
            found.append(process)
    return found


def kill_all_in(paths: list[Path]) -> None:
    """Kill every process in these network namespaces, those they start meanwhile too.

    Raises:
        LabTimeoutError: some would not die.
    """
    deadline = time.monotonic() + KILL_SECONDS
    while processes := [process for path in paths for process in in_network_namespace(path)]:
        if time.monotonic() > deadline:
            pids = ", ".join(str(process.pid) for process in processes)
            raise LabTimeoutError(f"killed processes do not die: {pids}")
        for process in processes:
            process.signal(signal.SIGKILL)
        time.sleep(0.01)
