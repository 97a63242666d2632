"""A running topology, for tests and for hands. Synchronous: what returns has happened.

For example:

    with Lab.up(Path("compose/pair.yaml"), {"NAT_A_MAPPING": "none"}, name="mine") as lab:
        lab.wait_for(lambda: lab.status("alice").peers, 30, "alice hears of bob")
        lab.exec("alice", ["ping", "-c1", str(lab.status("bob").self_.ip)])
"""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self, TypeVar

from sidecar.status import Status

from . import compose_file, control, startup
from .artifacts import collect
from .capture import Capture
from .errors import CommandError, LabError
from .labs import EXECUTORS, ExecutorName, destroy, names
from .labs.processes import Process
from .labs.state import LabRecord, LabState
from .nodes import Nodes
from .rules import Drop, Rules
from .topology import Topology
from .waiting import wait_for

T = TypeVar("T")

START_SECONDS: Final = 60.0
"""How long a topology may take to be up; all of ours need a few seconds."""


class Lab(Nodes):
    """A topology that runs, in namespaces or on a Docker engine."""

    live: ClassVar[list["Lab"]] = []
    """Every lab that this process has made and not yet ended."""

    artifacts: ClassVar[Path | None] = None
    """Where a lab that ends by an error leaves what is known of it; a test run sets it."""

    default_executor: ClassVar[ExecutorName] = "namespaces"
    """What runs a lab whose maker does not say; a test run sets it."""

    def __init__(
        self, topology: Topology, state: LabState, executor: ExecutorName = "namespaces"
    ) -> None:
        super().__init__(topology, state, executor)
        self._tables = itertools.count(1)

    @classmethod
    def up(
        cls,
        file: Path,
        settings: Mapping[str, str] | None = None,
        name: str = "lab",
        *,
        executor: ExecutorName | None = None,
        services: Sequence[str] | None = None,
        owned: bool = True,
        timeout: float = START_SECONDS,
    ) -> Self:
        """Make every node of a topology and start their main processes.

        Args:
            file: the compose file.
            settings: its variables, before those of the environment.
            name: labs of different names do not touch each other.
            executor: what runs it.
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
        executor = executor or cls.default_executor
        state.create(
            text,
            LabRecord(source=file.name, variables=variables, owner=owner, executor=executor),
        )
        lab = cls(topology, state, executor)
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
        topology = compose_file.parse(text, record.variables, source=record.source)
        executor = next(known for known in EXECUTORS if known == record.executor)
        return cls(topology, state, executor)

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
        self._destroy()

    # The agent.

    @property
    def agents(self) -> tuple[str, ...]:
        """The nodes that run the agent."""
        services = self.topology.services.values()
        return tuple(service.name for service in services if "sidecar" in service.argv)

    def status(self, node: str, interface: str | None = None) -> Status:
        """Ask a node's agent for its status: what `kbwg status --json` prints.

        `interface`: that of another agent of the node than the one which the file names.

        It asks the control socket itself: a new Python for every look would take so much of a
        small machine that it changes what it measures.

        Raises:
            CommandError: it does not answer.
        """
        environment = self.topology.service(node).environment
        runtime = environment.get("KBWG_RUNTIME_DIR", "/run/kbwg")
        interface = interface or environment.get("KBWG_INTERFACE", "kbwg0")
        path = f"{runtime}/{interface}.sock"
        try:
            document = control.ask(self._executor.path(node, path))
        except OSError as error:
            argv = ["GET", "/status"]
            raise CommandError(node, argv, returncode=1, stdout="", stderr=f"{error}") from error
        return Status.model_validate_json(document)

    def volume(self, name: str) -> Path:
        """Find the directory of a named volume, as seen from outside of the nodes."""
        return self._executor.volume(name)

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
            match: an nft expression, for example `rules.WIREGUARD` or `ip saddr 198.18.0.10`;
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

    def wait_for(self, predicate: Callable[[], T], timeout: float, what: str) -> T:
        """Wait until a predicate gives something true; see `integration.waiting`."""
        return wait_for(predicate, timeout, what)


def sweep() -> list[str]:
    """Remove every lab whose owner is gone; returns their names."""
    swept = []
    for name in names():
        try:
            _, record = LabState(name).load()
        except LabError:
            continue
        if record.owner is not None and not record.owner.alive:
            destroy(name)
            swept.append(name)
    return sorted(swept)
