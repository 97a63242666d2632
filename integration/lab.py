"""A running topology, for tests and for hands. Synchronous: what returns has happened.

with Lab.up(Path("compose/pair.yaml"), {"NAT_A_MAPPING": "none"}, name="mine") as lab:
    lab.wait_for(lambda: connected(lab.status("alice")), 30, "alice and bob meet")
    lab.exec("alice", ["ping", "-c1", "100.64.7.2"])
"""

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self, TypeVar

from sidecar.status import Status

from . import compose_file, control, startup
from .artifacts import collect
from .capture import Capture
from .errors import CommandError, LabError, LabTimeoutError
from .labs import namespaces
from .labs.processes import Process
from .labs.state import LabRecord, LabState, names
from .node_process import NodeProcess
from .rules import Drop, Rules
from .topology import Topology

T = TypeVar("T")

START_SECONDS: Final = 60.0
"""How long a topology may take to be up; all of ours need a few seconds."""

EXEC_SECONDS: Final = 30.0
"""How long a command in a node may take unless its caller says otherwise."""

LAST_LINES: Final = 20
"""How much of a node's log an error about it shows."""

POLL_SECONDS: Final = 0.02
"""How often a condition is looked at: short against the times that tests assert."""


class Lab:
    """A topology that runs in namespaces."""

    live: ClassVar[list["Lab"]] = []
    """Every lab that this process has made and not yet ended."""

    artifacts: ClassVar[Path | None] = None
    """Where a lab that ends by an error leaves what is known of it; a test run sets it."""

    def __init__(self, topology: Topology, state: LabState) -> None:
        self.topology: Final = topology
        self.name: Final = state.name
        self._state = state
        self._executor = namespaces.Namespaces(topology, state)
        self._entrances: dict[str, subprocess.Popen[bytes]] = {}
        self._tables = itertools.count(1)

    @classmethod
    def up(
        cls,
        file: Path,
        settings: Mapping[str, str] | None = None,
        name: str = "lab",
        *,
        services: Sequence[str] | None = None,
        owned: bool = True,
        timeout: float = START_SECONDS,
    ) -> Self:
        """Make every node of a topology and start their main processes.

        Args:
            file: the compose file.
            settings: its variables, before those of the environment.
            name: labs of different names do not touch each other.
            services: start only these and what they depend on; the others stand idle.
            owned: the lab ends with this process: should it crash, `sweep` removes the lab.
            timeout: seconds that all healthchecks may take together.

        Raises:
            TopologyError: the file is not understood.
            LabError: the lab cannot be made; nothing of it is left.
        """
        topology = compose_file.read(file, settings or {}, os.environ)
        text = file.read_text(encoding="utf-8")
        variables = compose_file.resolve(text, settings or {}, os.environ, source=file.name)
        chosen = topology.with_dependencies(tuple(services or topology.services))
        state = LabState(name)
        owner = Process.of(os.getpid()) if owned else None
        state.create(text, LabRecord(source=file.name, variables=variables, owner=owner))
        lab = cls(topology, state)
        cls.live.append(lab)
        try:
            lab._executor.create()
            startup.start_in_order(lab, chosen, timeout)
        except BaseException:
            lab.fail()
            raise
        return lab

    @classmethod
    def attach(cls, name: str = "lab") -> Self:
        """Find a lab that another process has made.

        Raises:
            LabError: none of that name is up.
        """
        state = LabState(name)
        text, record = state.load()
        return cls(compose_file.parse(text, record.variables, source=record.source), state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.down()
        else:
            self.fail()

    def fail(self) -> None:
        """Remove the lab, but first write what is known of its nodes to `artifacts`."""
        try:
            if self.artifacts is not None:
                collect(self, self.artifacts / self.name)
        finally:
            self.down()

    def down(self) -> None:
        """Remove the lab and all that runs in it; harmless when it is gone."""
        if self in self.live:
            self.live.remove(self)
        self._executor.destroy()
        for entrance in self._entrances.values():
            entrance.wait()
        self._entrances.clear()

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
                stdout, stderr = process.communicate(stdin, timeout)
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
        self.wait_for(lambda: not self.running(node), timeout, f"{node} ends after SIGTERM")
        entrance = self._entrances.get(node)
        return entrance.wait() if entrance is not None else None

    def running(self, node: str) -> bool:
        """Say whether a node's main process runs."""
        return self._executor.main(node) is not None

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

    # The agent.

    @property
    def agents(self) -> tuple[str, ...]:
        """The nodes that run the agent."""
        services = self.topology.services.values()
        return tuple(service.name for service in services if "sidecar" in service.argv)

    def status(self, node: str) -> Status:
        """Ask a node's agent for its status: what `kbwg status --json` prints.

        It asks the control socket itself: a new Python for every look would take so much of a
        small machine that it changes what it measures.

        Raises:
            CommandError: it does not answer.
        """
        environment = self.topology.service(node).environment
        runtime = environment.get("KBWG_RUNTIME_DIR", "/run/kbwg")
        path = f"{runtime}/{environment.get('KBWG_INTERFACE', 'kbwg0')}.sock"
        try:
            document = control.ask(self._executor.path(node, path))
        except OSError as error:
            argv = ["GET", "/status"]
            raise CommandError(node, argv, returncode=1, stdout="", stderr=f"{error}") from error
        return Status.model_validate_json(document)

    def volume(self, name: str) -> Path:
        """Find the directory of a named volume, as seen from outside of the nodes."""
        return self._state.volumes / name

    # The network.

    def set_link(self, node: str, network: str, up: bool) -> None:
        """Plug the cable between a node and a network in or out; the node sees its carrier."""
        self._executor.set_link(node, network, up=up)

    def nft(self, node: str, chains: str) -> Rules:
        """Add a table with these chains to a node, until the handle's `remove`."""
        return Rules(self, node, f"lab_{next(self._tables)}", chains)

    def drop(self, node: str, match: str = "") -> Drop:
        """Let a router silently swallow what `match` selects, until the handle's `remove`.

        Args:
            node: the router, or any node.
            match: an nft expression, for example `rules.WIREGUARD` or `ip saddr 192.0.2.10`;
                nothing selects everything.
        """
        return Drop(self, node, f"lab_{next(self._tables)}", match)

    def capture(self, node: str, expression: str = "") -> Capture:
        """Record the packets of all of a node's interfaces, until the handle's `stop`."""
        self._state.captures.mkdir(exist_ok=True)
        number = len(list(self._state.captures.iterdir()))
        return Capture(self, node, expression, self._state.captures / f"{node}-{number}.pcap")

    @property
    def captures(self) -> Iterable[Path]:
        """Every recording so far."""
        return sorted(self._state.captures.glob("*.pcap"))

    # Waiting.

    def wait_for(self, predicate: Callable[[], T], timeout: float, what: str) -> T:
        """Wait until a predicate gives something true, and return that.

        A command that fails meanwhile counts as not yet.

        Raises:
            LabTimeoutError: it did not in time; `what` says what was awaited.
        """
        deadline = time.monotonic() + timeout
        last = "no answer"
        while True:
            try:
                if value := predicate():
                    return value
                last = repr(value)
            except CommandError as error:
                last = str(error)
            if time.monotonic() > deadline:
                raise LabTimeoutError(
                    f"after {timeout:g} s still not: {what} (last: {last[:2000]})"
                )
            time.sleep(POLL_SECONDS)


def sweep() -> list[str]:
    """Remove every lab whose owner is gone; returns their names."""
    swept = []
    for name in namespaces.names() | set(names()):
        try:
            _, record = LabState(name).load()
        except LabError:
            continue
        if record.owner is not None and not record.owner.alive:
            namespaces.destroy(name)
            swept.append(name)
    return sorted(swept)
