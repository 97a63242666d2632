"""The namespaces executor: nodes are Linux namespaces, networks are bridges in another one.

A node has a network, a mount, a pid and a host name namespace of its own. Its first process
only reaps, so a node outlives its main process, as a container's helpers outlive an agent that
its supervisor restarts. Everything dies with the first process; the network namespaces stand in
/run/netns as `kbwg.LAB.NODE`, where `down` finds them whatever became of the lab.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from ..errors import LabError
from ..keybase_device import keybase_environment
from ..topology import Topology
from . import processes, wiring
from .processes import Process
from .state import LabState, NodeRecord

NETNS: Final = Path("/run/netns")
PREFIX: Final = "kbwg"

REPOSITORY: Final = Path(__file__).resolve().parents[2]

PROGRAMS: Final = (
    Path(sys.prefix) / "bin",
    REPOSITORY / ".tools" / "bin",
    REPOSITORY / "integration" / "keybase_simulator" / "bin",
)
"""Where a node finds Python and the agent, wireguard-go, and the simulated Keybase."""

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Namespaces:
    """The nodes of one lab."""

    def __init__(self, topology: Topology, state: LabState) -> None:
        self._topology = topology
        self._state = state
        self._netns = {node: f"{PREFIX}.{state.name}.{node}" for node in topology.services}
        # A dot cannot stand in a service's name, so this is no node's.
        self._switch = f"{PREFIX}.{state.name}..switch"
        self._ports = {(p.node, p.network): p.port for p in wiring.plugs(topology)}
        self._begun: list[subprocess.Popen[str]] = []

    def create(self) -> None:
        """Make networks and nodes; no main process runs yet.

        Raises:
            LabError: something is missing on this machine; `destroy` clears away what was made.
        """
        if os.geteuid() != 0:
            raise LabError("network namespaces need root: run this as root")
        for volume in self._topology.volumes:
            (self._state.volumes / volume).mkdir()
        every = [self._switch, *self._netns.values()]
        _ip("".join(f"netns add {name}\n" for name in every))
        _run(
            ["nsenter", f"--net={NETNS / self._switch}", "sh", "-c", _SWITCH_SETUP],
            "preparing the switch",
        )
        _ip(wiring.switch_batch(self._topology, self._netns), self._switch)
        for name, service in self._topology.services.items():
            _ip(wiring.node_batch(service), self._netns[name])
        self._begun = [self._begin(name) for name in self._topology.services]
        for name, process in zip(self._topology.services, self._begun, strict=True):
            self._furnished(name, process)

    def command(self, node: str, argv: list[str]) -> list[str]:
        """Wrap a command so that it runs in a node.

        Raises:
            LabError: there is no such node, or it is gone.
        """
        return [
            "nsenter",
            f"--target={self._first(node).pid}",
            "--net",
            "--mount",
            "--pid",
            "--uts",
            *argv,
        ]

    def environment(self, node: str) -> dict[str, str]:
        """Give what a process in a node finds in its environment."""
        described = self._topology.service(node).environment
        return {
            "PATH": ":".join([*map(str, PROGRAMS), SYSTEM_PATH]),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": wiring.HOME,
            **keybase_environment(described),
            **described,
        }

    def path(self, node: str, path: str) -> Path:
        """Find a node's file from outside of the node; only its first process keeps it there.

        Raises:
            LabError: the node is gone.
        """
        return Path(f"/proc/{self._first(node).pid}/root{path}")

    def volume(self, name: str) -> Path:
        """Find the directory of a named volume, as seen from outside of the nodes."""
        return self._state.volumes / name

    def start(self, node: str) -> subprocess.Popen[bytes]:
        """Start a node's main process.

        Raises:
            LabError: it runs already, or cannot be run.
        """
        record = self._state.node(node)
        if record.main is not None and record.main.alive:
            raise LabError(f"{node} runs already")
        argv = list(self._topology.service(node).argv)
        if argv[0] == "kbwg-node":
            argv[:1] = [sys.executable, "-m", "integration.node"]
        with self._state.log(node).open("ab") as log:
            entrance = subprocess.Popen(
                self.command(node, argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(node),
                # Ctrl-C in a terminal is for the lab, which ends its nodes in its own way.
                start_new_session=True,
            )
        main = _await_child(entrance)
        if main is not None:
            self._state.save_node(node, NodeRecord(record.first, main))
        return entrance

    def main(self, node: str) -> Process | None:
        """Find a node's main process; `None`: it does not run."""
        main = self._state.node(node).main
        return main if main is not None and main.alive else None

    def set_link(self, node: str, network: str, *, up: bool) -> None:
        """Plug a node's cable in or out; it sees its carrier come and go.

        Raises:
            TopologyError: the node has no interface in that network.
        """
        self._topology.service(node).attachment(network)
        state = "up" if up else "down"
        _ip(f"link set {self._ports[node, network]} {state}\n", self._switch)

    def destroy(self) -> None:
        """Remove all that the lab made.

        Raises:
            LabTimeoutError: a killed process would not die.
        """
        destroy(self._state.name)
        for process in self._begun:
            process.communicate()
        self._begun.clear()

    def _first(self, node: str) -> Process:
        self._topology.service(node)
        first = self._state.node(node).first
        if not first.alive:
            raise LabError(f"the node {node} is gone: its first process died")
        return first

    def _begin(self, node: str) -> subprocess.Popen[str]:
        """Start a node's first process, which furnishes the node."""
        stage = self._state.path / "nodes" / node
        stage.mkdir()
        script = wiring.node_script(
            self._topology.services[node],
            stage=stage,
            volumes=self._state.volumes,
            needed=(REPOSITORY / "integration" / "node.py", Path(sys.executable)),
        )
        enter = ["nsenter", f"--net={NETNS / self._netns[node]}"]
        unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc"]
        return subprocess.Popen(
            [*enter, *unshare, "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _furnished(self, node: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = process.stdout.readline() == "ready\n"
        first = processes.child_of(process.pid) if ready else None
        if first is None:
            raise LabError(f"cannot make the node {node}: {process.stderr.read().strip()}")
        self._state.save_node(node, NodeRecord(first, None))


def destroy(name: str) -> None:
    """Remove all that a lab made, also one that broke off half-way; harmless if there is none.

    Raises:
        LabTimeoutError: a killed process would not die.
    """
    prefix = f"{PREFIX}.{name}."
    found = []
    if NETNS.is_dir():
        found = [entry for entry in NETNS.iterdir() if entry.name.startswith(prefix)]
    processes.kill_all_in(found)
    if found:
        _ip("".join(f"netns delete {path.name}\n" for path in found))
    LabState(name).remove()


def names() -> set[str]:
    """List the labs of which at least a namespace stands."""
    if not NETNS.is_dir():
        return set()
    parts = (entry.name.split(".", 2) for entry in NETNS.iterdir())
    return {part[1] for part in parts if part[0] == PREFIX and len(part) == 3}


_SWITCH_SETUP: Final = """
# Bridged frames must not pass this namespace's packet filter and connection tracking.
for key in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$key" ] || echo 0 >"$key"; done
for key in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e "$key" ] || echo 1 >"$key"; done
"""


def _ip(batch: str, netns: str | None = None) -> None:
    where = ["-netns", netns] if netns else []
    _run(["ip", *where, "-batch", "-"], "building the networks", batch)


def _run(argv: list[str], doing: str, stdin: str = "") -> None:
    try:
        result = subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False)
    except FileNotFoundError:
        raise LabError(f"{doing}: no program {argv[0]}; run integration/provision.sh") from None
    if result.returncode:
        raise LabError(f"{doing}: {result.stderr.strip()}")


def _await_child(entrance: subprocess.Popen[bytes]) -> Process | None:
    """Find the process that an entrance has let into a node; `None`: it has ended already."""
    while entrance.poll() is None:
        child = processes.child_of(entrance.pid)
        if child is not None:
            return child
        time.sleep(0.0005)
    return None
