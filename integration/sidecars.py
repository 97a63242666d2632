"""Hosts that run the image as users do: the files of users, under `docker compose`.

Each host is a Compose project of one of `compose/`'s files for users; of `app.yaml`, if a test does
not say otherwise: kbwg, and an application in the same network namespace. All share a simulated
Keybase that they reach by a volume. What a test adds to the users' file is in `docker_files/`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from sidecar.status import PeerState, Status

from . import control
from .errors import CommandError, LabError
from .keybase_simulator.admin import SimulatorAdmin
from .labs import docker
from .labs.processes import Process
from .node_process import NodeProcess
from .traffic import Traffic
from .waiting import wait_for

FILES: Final = docker.REPOSITORY / "integration" / "docker_files"
COMPOSE: Final = docker.REPOSITORY / "compose"

File = Literal["app", "sidecar", "sidecar-bridge"]
"""Of `compose/`, what a user runs."""

ADDED: Final[dict[File, tuple[str, ...]]] = {
    "app": ("keybase", "app"),
    "sidecar": ("keybase",),
    "sidecar-bridge": ("keybase",),
}
"""Of `docker_files/`, what every test adds to it."""

LOOKS: Final = 5
"""Times that a program is looked for until only one of its name is there."""

TEAM: Final = "acme.vpn"
SUBNET: Final = "198.18.50.0/24"

PAPER_KEYS: Final = {
    "alice": "wine crazy tiger lamp only seven",
    "bob": "coat paper river seldom moon eight",
}

LISTEN_PORT: Final = 51820
"""Published port of the first host; the others have those above it."""

CONNECT_SECONDS: Final = 60.0
"""Until two containers that were just started are connected, on a loaded machine."""

BUSY_SECONDS: Final = 15.0
"""What a machine that runs other labs may add to a start, which is seconds of CPU."""

REKEY_SECONDS: Final = 5.0
"""WireGuard's own pause between two handshakes: after a death without a goodbye the other end may
just have begun one with nobody (REKEY_TIMEOUT)."""


class Sidecars:
    """Some hosts, and the Keybase that they share.

    Args:
        name: labs of different names do not touch each other.
    """

    def __init__(self, name: str) -> None:
        self._name = f"{docker.PREFIX}{name}"
        self._volume = f"{self._name}-simulator"
        self._hosts: dict[str, int] = {}
        self._files: dict[str, File] = {}
        self._secrets = Path(tempfile.mkdtemp())

    def secret(self, user: str) -> Path:
        """Find the file that holds a user's paper key, as it is mounted."""
        return self._secrets / user

    def down_leftovers(self) -> None:
        """Remove what a run that was broken off has left."""
        own = self._name.removeprefix(docker.PREFIX)
        # Hosts first: their containers hold the network. It may stand alone, too.
        for name in {name for name in docker.names() if name.startswith(f"{own}-")}:
            docker.destroy(name)
        docker.destroy(own)

    def create(self) -> None:
        """Make network and Keybase; `down` removes them.

        Raises:
            LabError: the engine refuses.
        """
        docker.provide("images")
        # As udev makes it everywhere; what can be done with it still needs NET_ADMIN.
        Path("/dev/net/tun").chmod(0o666)
        label = f"--label={docker.PROJECT_LABEL}={self._name}"
        docker.docker(["network", "create", label, f"--subnet={SUBNET}", self._name])
        docker.docker(["volume", "create", label, self._volume])
        described = {
            "SIMULATOR_ROOT": "/run/simulator",
            "SIMULATOR_TEAM": TEAM,
            "SIMULATOR_MEMBERS": "alice=owner bob=writer",
            "SIMULATOR_PAPERKEYS": "; ".join(f"{u}: {key}" for u, key in PAPER_KEYS.items()),
        }
        variables = [f"--env={name}={value}" for name, value in described.items()]
        mount = f"--volume={self._volume}:/run/simulator"
        run = ["run", "--detach", "--network=none", f"--name={self._name}-keybase", label, mount]
        docker.docker([*run, *variables, "kbwg-testbed", "kbwg-node", "keybase"])
        where = Path(
            docker.docker(["volume", "inspect", "-f", "{{.Mountpoint}}", self._volume]).strip()
        )
        wait_for((where / "admin.sock").is_socket, 30, "the simulated Keybase serves")
        self.keybase = SimulatorAdmin(where)

    def up(
        self,
        user: str,
        *,
        device: str = "",
        file: File = "app",
        files: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start the host of a user, or start it anew with another configuration.

        Args:
            user: who logs in.
            device: a named device; without it a oneshot.
            file: of `compose/`; a host never changes to another one.
            files: of `docker_files`, after the usual ones.
            variables: of the compose file.
        """
        self._files[user] = file
        port = self._hosts.setdefault(user, LISTEN_PORT + len(self._hosts))
        secret = self.secret(user)
        secret.write_text(PAPER_KEYS[user] + "\n", encoding="ascii")
        paths = [COMPOSE / f"{file}.yaml"]
        paths += [FILES / f"{name}.yaml" for name in (*ADDED[file], *files)]
        docker.compose(
            self.project(user),
            [*(word for path in paths for word in ("--file", str(path))), "up", "--detach"],
            variables={
                "KBWG_IMAGE": "kbwg:standin",
                "APP_IMAGE": "kbwg-testbed",
                "SIMULATOR_VOLUME": self._volume,
                "LAB_NETWORK": self._name,
                "KBWG_TEAM": TEAM,
                "KBWG_SUBNET": "100.64.7.0/24",
                "KBWG_STUN_SERVERS": "none",
                "KBWG_KEYBASE_USERNAME": user,
                "KBWG_KEYBASE_DEVICE": device,
                "KBWG_PAPERKEY": str(secret),
                "KBWG_LISTEN_PORT": str(port),
                **(variables or {}),
            },
        )

    def project(self, user: str) -> str:
        return f"{self._name}-{user}"

    def container(self, user: str, service: str = "kbwg") -> str:
        """Return the name of a container, as `docker` takes it."""
        return f"{self.project(user)}-{service}-1"

    def logs(self, user: str) -> str:
        """Read what kbwg has printed on both of its streams."""
        argv = ["docker", "logs", self.container(user)]
        return subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        ).stdout

    def exec(self, user: str, argv: Sequence[str], service: str = "kbwg") -> str:
        """Run a command by `docker exec`; returns what it prints."""
        return docker.docker(["exec", self.container(user, service), *argv])

    def status(self, user: str) -> Status:
        """Ask an agent by its control socket.

        Raises:
            CommandError: it does not answer.
        """
        try:
            path = Path(f"/proc/{self._first(user, 'kbwg').pid}/root/run/kbwg/kbwg0.sock")
            return Status.model_validate_json(control.ask(path))
        except (OSError, LabError) as error:
            argv = ["GET", "/status"]
            raise CommandError(user, argv, returncode=1, stdout="", stderr=f"{error}") from error

    def connected(self, *users: str) -> bool:
        """Say whether each has a path to the other."""
        return all(
            [peer.state for peer in self.status(user).peers] == [PeerState.CONNECTED]
            for user in users
        )

    def wait_connected(self, *users: str, seconds: float = CONNECT_SECONDS) -> None:
        """Wait until each has a path to the other."""
        wait_for(lambda: self.connected(*users), seconds, f"{' and '.join(users)} are connected")

    def processes(self, user: str) -> dict[int, str]:
        """List the processes of kbwg: pid, as this machine has it, to command line."""
        # However wide the engine takes its terminal to be, whole lines.
        top = ["top", self.container(user), "-ww", "-eo", "pid,args"]
        shown = docker.docker(top).splitlines()[1:]
        pairs = (line.split(None, 1) for line in shown)
        return {int(pid): arguments for pid, arguments in pairs}

    def process(self, user: str, program: str) -> Process:
        """Find the process whose command line holds a text.

        Raises:
            LabError: there is not exactly one.
        """
        for _ in range(LOOKS):
            found = [pid for pid, line in self.processes(user).items() if program in line]
            if len(found) <= 1:
                break
            # What a program starts has its command line for a moment.
            time.sleep(0.1)
        process = Process.of(found[0]) if len(found) == 1 else None
        if process is None:
            raise LabError(f"{user} has {len(found)} processes of {program}")
        return process

    def popen(self, node: str, argv: Sequence[str]) -> NodeProcess:
        """Start a command of this machine's in the network of a host."""
        program = [sys.executable, *argv[1:]] if argv[0] == "python" else argv
        target = f"--target={self._first(node, self._holder(node)).pid}"
        environment = {"PYTHONPATH": str(docker.REPOSITORY)}
        # A child of the entrance, as in the other labs: that is what signals go to.
        entrance = ["nsenter", target, "--net", "unshare", "--fork", "--"]
        return NodeProcess([*entrance, *program], {**os.environ, **environment})

    def down(self) -> None:
        """Remove everything."""
        for user in self._hosts:
            docker.destroy(self.project(user).removeprefix(docker.PREFIX))
        docker.destroy(self._name.removeprefix(docker.PREFIX))
        shutil.rmtree(self._secrets)

    def _holder(self, user: str) -> str:
        """Name the service that holds a host's network, and is never restarted if there is one."""
        return "net" if self._files[user] == "app" else "kbwg"

    def _first(self, user: str, service: str) -> Process:
        form = ["inspect", "--format", "{{.State.Pid}}", self.container(user, service)]
        pid = int(docker.docker(form))
        process = Process.of(pid) if pid else None
        if process is None:
            raise LabError(f"{service} of {user} does not run")
        return process


def flow(hosts: Sidecars) -> Traffic:
    """Send numbered datagrams between alice and bob, both ways, through the tunnel."""
    (a, one), (b, other) = ((user, hosts.status(user).self_.ip) for user in ("alice", "bob"))
    assert one is not None
    assert other is not None
    return Traffic(hosts, (a, one), (b, other))
