"""The nodes of a lab: commands in them, and the processes that the topology says they run."""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .errors import CommandError, LabError
from .labs import ExecutorName, executor
from .labs.state import LabState
from .node_process import NodeProcess
from .topology import Topology
from .waiting import patiently, wait_for

EXEC_SECONDS: Final = 30.0
"""How long a command in a node may take unless its caller says otherwise."""

LAST_LINES: Final = 20
"""How much of a node's log an error about it shows."""


class Nodes:
    """What runs in the nodes of a lab."""

    def __init__(
        self, topology: Topology, state: LabState, executor_name: ExecutorName = "namespaces"
    ) -> None:
        self.topology: Final = topology
        self.name: Final = state.name
        self._state = state
        self._executor = executor(executor_name, topology, state)
        self._entrances: dict[str, subprocess.Popen[bytes]] = {}

    # Commands in nodes.

    def exec(
        self,
        node: str,
        argv: Sequence[str],
        *,
        timeout: float = EXEC_SECONDS,
        check: bool = True,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a node to its end.

        Args:
            node: where.
            argv: the command.
            timeout: seconds after which it is killed.
            check: whether a status other than 0 is an error.
            stdin: what it reads.
            environment: variables besides those of the node.

        Raises:
            CommandError: it failed, or took too long.
        """
        with self.popen(node, argv, environment=environment) as process:
            try:
                stdout, stderr = process.communicate(stdin, patiently(timeout))
            except subprocess.TimeoutExpired:
                process.kill()
                stdout, stderr = process.communicate()
                raise CommandError(
                    node, argv, returncode=None, stdout=stdout, stderr=stderr
                ) from None
        if check and process.returncode:
            raise CommandError(
                node, argv, returncode=process.returncode, stdout=stdout, stderr=stderr
            )
        return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)

    def popen(
        self,
        node: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdout: Path | None = None,
    ) -> NodeProcess:
        """Start a command in a node.

        Args:
            node: where.
            argv: the command.
            environment: variables besides those of the node.
            stdout: a file outside of the node for what it prints; otherwise a pipe, as are its
                other streams.
        """
        return NodeProcess(
            self._executor.command(node, list(argv)),
            {**self._executor.environment(node), **(environment or {})},
            stdout,
        )

    def command(self, node: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Give the command line and environment that run a command in a node from here."""
        return self._executor.command(node, list(argv)), self._executor.environment(node)

    # Main processes.

    def start(self, node: str) -> None:
        """Start a node's main process, for the first time or again.

        Raises:
            LabError: it runs already.
        """
        entrance = self._executor.start(node)
        former = self._entrances.get(node)
        self._entrances[node] = entrance
        if former is not None:
            former.wait()

    def kill(self, node: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a node's main process, and nothing else in the node.

        Raises:
            LabError: it does not run.
        """
        main = self._executor.main(node)
        if main is None or not main.signal(number):
            raise LabError(f"{node} does not run")

    def stop(self, node: str, timeout: float = 15.0) -> int | None:
        """Ask a node's main process to end, and wait until it has.

        Returns:
            Its exit status, negative for a signal; `None` if another process started it.

        Raises:
            LabError: it does not run.
            LabTimeoutError: it did not end in time.
        """
        self.kill(node, signal.SIGTERM)
        wait_for(lambda: not self.running(node), timeout, f"{node} ends after SIGTERM")
        entrance = self._entrances.get(node)
        return entrance.wait() if entrance is not None else None

    def running(self, node: str) -> bool:
        """Say whether a node's main process runs."""
        return self._executor.main(node) is not None

    def cpu_seconds(self, node: str) -> float:
        """Say how much CPU a node's main process has spent since its start.

        Raises:
            LabError: it does not run.
        """
        main = self._executor.main(node)
        if main is None:
            raise LabError(f"{node} does not run")
        return main.cpu_seconds()

    def logs(self, node: str) -> str:
        """Read what a node's main process has printed, over all its starts."""
        path = self.log_file(node)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def log_file(self, node: str) -> Path:
        """Find the file that `logs` reads."""
        self.topology.service(node)
        return self._state.log(node)

    def last_words(self, node: str) -> str:
        """Read the end of a node's log, for an error about it."""
        return "\n".join(self.logs(node).splitlines()[-LAST_LINES:])

    def _destroy(self) -> None:
        self._executor.destroy()
        for entrance in self._entrances.values():
            entrance.wait()
        self._entrances.clear()
