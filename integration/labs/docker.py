"""The Docker executor: the same files under `docker compose`, in the image that users run.

Containers are made by Compose and watched by the Docker client; commands enter them as they enter
the nodes of the namespaces lab, by their first process, so this needs an engine on this machine
and root. A lab is the Compose project `kbwglab-NAME`. `integration/docker.sh` provides what is
missing: engine, plugins, base image, and the testbed image of the present source.
"""

import functools
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import LabError
from ..topology import Topology
from .processes import Process
from .state import LabState, NodeRecord

PREFIX: Final = "kbwglab-"

REPOSITORY: Final = Path(__file__).resolve().parents[2]
SCRIPT: Final = REPOSITORY / "integration" / "docker.sh"
CONFIG: Final = REPOSITORY / ".tools" / "docker"

PROJECT_LABEL: Final = "com.docker.compose.project"
SERVICE_LABEL: Final = "com.docker.compose.service"

START_SECONDS: Final = 30.0
"""Until a container that was told to start has a process; a loaded engine takes seconds."""


class Docker:
    """The containers of one lab."""

    def __init__(self, topology: Topology, state: LabState) -> None:
        self._topology = topology
        self._state = state
        self._project = PREFIX + state.name

    def create(self) -> None:
        if os.geteuid() != 0:
            raise LabError("the Docker lab enters its containers' namespaces: run this as root")
        provide("testbed")
        _, record = self._state.load()
        compose(
            self._project,
            ["--file", str(self._state.path / "topology.yaml"), "create", "--no-build"],
            variables=record.variables,
        )

    def command(self, node: str, argv: list[str]) -> list[str]:
        main = self.main(node)
        if main is None:
            raise LabError(f"the container of {node} does not run")
        spaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup"]
        return ["nsenter", f"--target={main.pid}", *spaces, *argv]

    def environment(self, node: str) -> dict[str, str]:
        listed = self._inspect(node, "{{json .Config.Env}}")
        pairs = (entry.partition("=") for entry in json.loads(listed))
        return {"HOME": "/root", **{name: value for name, _, value in pairs}}

    def path(self, node: str, path: str) -> Path:
        main = self.main(node)
        if main is None:
            raise LabError(f"the container of {node} does not run")
        return Path(f"/proc/{main.pid}/root{path}")

    def volume(self, name: str) -> Path:
        full = f"{self._project}_{name}"
        return Path(docker(["volume", "inspect", "--format", "{{.Mountpoint}}", full]).strip())

    def start(self, node: str) -> "subprocess.Popen[bytes]":
        if self.main(node) is not None:
            raise LabError(f"{node} runs already")
        with self._state.log(node).open("ab") as log:
            entrance = subprocess.Popen(
                ["docker", "start", "--attach", self._container(node)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=client_environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while self.main(node) is None and entrance.poll() is None:
            if time.monotonic() > deadline:
                raise LabError(f"the container of {node} does not start")
            time.sleep(0.05)
        return entrance

    def main(self, node: str) -> Process | None:
        self._topology.service(node)
        try:
            known = self._state.node(node).main
        except LabError:
            known = None
        if known is not None and known.alive:
            return known
        pid = int(self._inspect(node, "{{.State.Pid}}"))
        found = Process.of(pid) if pid else None
        if found is not None:
            self._state.save_node(node, NodeRecord(found, found))
        return found

    def set_link(self, node: str, network: str, *, up: bool) -> None:
        wanted = self._topology.service(node).attachment(network)
        shown = subprocess.run(
            self.command(node, ["ip", "-json", "address"]),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        mine = {str(address.ip) for address in wanted.addresses}
        for link in json.loads(shown):
            if mine & {entry["local"] for entry in link["addr_info"]}:
                self._set_peer_of(link["link_index"], up=up)
                return
        raise LabError(f"{node} has no interface in {network}")

    def destroy(self) -> None:
        destroy(self._state.name)

    def _set_peer_of(self, index: int, *, up: bool) -> None:
        """Change the engine's end of a container's cable, which has this index on the host."""
        links = json.loads(subprocess.check_output(["ip", "-json", "link"], text=True))
        name = next(link["ifname"] for link in links if link["ifindex"] == index)
        assert name.startswith("veth"), f"{name} is no cable of a container"
        subprocess.run(["ip", "link", "set", name, "up" if up else "down"], check=True)

    @functools.cache  # noqa: B019 - a lab lives as long as its test
    def _container(self, node: str) -> str:
        project = f"--filter=label={PROJECT_LABEL}={self._project}"
        service = f"--filter=label={SERVICE_LABEL}={node}"
        found = docker(["ps", "--all", "--quiet", project, service]).split()
        if not found:
            raise LabError(f"the lab {self._state.name} has no container for {node}")
        return found[0]

    def _inspect(self, node: str, form: str) -> str:
        return docker(["inspect", "--format", form, self._container(node)]).strip()


@functools.cache
def provide(what: str) -> None:
    """Let `docker.sh` provide what is missing, once in this process.

    Raises:
        LabError: it cannot; the text says what and why.
    """
    result = subprocess.run(
        ["bash", str(SCRIPT), what], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise LabError(f"no Docker lab on this machine:\n{result.stderr.strip()[-2000:]}")


def compose(project: str, argv: list[str], *, variables: Mapping[str, str] | None = None) -> str:
    """Run a `docker compose` verb for a project; returns what it prints.

    Raises:
        LabError: it failed.
    """
    directory = ["--project-directory", str(REPOSITORY / "compose")]
    command = ["compose", "--project-name", project, "--ansi", "never", *directory, *argv]
    return docker(command, variables=variables)


def docker(argv: list[str], *, variables: Mapping[str, str] | None = None) -> str:
    """Run a verb of the Docker client; returns what it prints.

    Raises:
        LabError: it failed, or there is no client.
    """
    try:
        result = subprocess.run(
            ["docker", *argv],
            env={**client_environment(), **(variables or {})},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise LabError("no Docker client: run `make image`") from None
    if result.returncode:
        raise LabError(f"docker {argv[0]}: {result.stderr.strip()[-2000:]}")
    return result.stdout


def client_environment() -> dict[str, str]:
    """Give the client's environment: it finds the plugins that were fetched for it."""
    own = {"DOCKER_CONFIG": str(CONFIG)} if CONFIG.is_dir() else {}
    return {**os.environ, **own}


def destroy(name: str) -> None:
    """Remove the containers, networks and volumes of a lab; harmless if there are none.

    Raises:
        LabError: the engine refuses.
    """
    label = f"--filter=label={PROJECT_LABEL}={PREFIX}{name}"
    if containers := docker(["ps", "--all", "--quiet", label]).split():
        docker(["rm", "--force", "--volumes", *containers])
    if networks := docker(["network", "ls", "--quiet", label]).split():
        docker(["network", "rm", *networks])
    if volumes := docker(["volume", "ls", "--quiet", label]).split():
        docker(["volume", "rm", "--force", *volumes])
    LabState(name).remove()


def names() -> set[str]:
    """List the labs of which at least a container stands; none where no engine answers."""
    try:
        listed = docker(["ps", "--all", "--format", f'{{{{.Label "{PROJECT_LABEL}"}}}}'])
    except LabError:
        return set()
    return {line.removeprefix(PREFIX) for line in listed.split() if line.startswith(PREFIX)}
