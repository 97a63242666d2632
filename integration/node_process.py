"""A command that runs in a node."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from .labs import processes


class NodeProcess(subprocess.Popen[str]):
    """A `Popen` whose signals reach the command itself.

    What is started here is only its entrance into the node's namespaces, which then waits for
    the command: a signal to the entrance would end that and leave the command running.
    """

    def __init__(
        self, argv: list[str], environment: Mapping[str, str], stdout: Path | None = None
    ) -> None:
        with contextlib.ExitStack() as opened:
            super().__init__(
                argv,
                stdin=subprocess.PIPE,
                stdout=opened.enter_context(stdout.open("wb")) if stdout else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=dict(environment),
                start_new_session=True,
            )

    def send_signal(self, sig: int) -> None:
        """Signal the command; nothing happens if it has ended."""
        while self.poll() is None:
            command = processes.child_of(self.pid)
            if command is not None:
                command.signal(signal.Signals(sig))
                return
            # It has not entered the node yet.
            time.sleep(0.0005)

    def terminate(self) -> None:
        """Ask the command to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the command."""
        self.send_signal(signal.SIGKILL)
