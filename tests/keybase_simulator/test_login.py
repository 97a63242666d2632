"""Service, KBFS and login as processes that come, go and crash (§7)."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.keybase_simulator.paths import BIN, KEYBASE

from .support import PATIENCE, REPOSITORY, Done, wait_for_socket

PHRASE = "wine crazy tiger lamp only seven"
OTHER = "coat paper river seldom moon eight"


class Machine:
    """A host whose Keybase is nothing but processes."""

    def __init__(self, root: Path, home: Path) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self.socket = home / ".config" / "keybase" / "keybased.sock"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "KEYBASE_"))}
        self.env = inherited | {
            "HOME": str(home),
            "SIMULATOR_ROOT": str(root),
            "KEYBASE_ALLOW_ROOT": "1",
            "KEYBASE_NO_AUTO_FORK": "1",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def begin(self, *argv: str | Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, env=self.env, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    def service(self) -> subprocess.Popen[bytes]:
        process = self.begin(KEYBASE, "service")
        assert self.run("ctl", "wait").code == 0
        return process

    def kbfs(self) -> subprocess.Popen[bytes]:
        process = self.begin(BIN / "kbfsfuse", "-debug", "-mount-type=none")
        assert self.run("ctl", "wait", "--include-kbfs").code == 0
        return process

    def run(self, *argv: str, stdin: str = "", **variables: str) -> Done:
        done = subprocess.run(
            [KEYBASE, *argv],
            input=stdin,
            env=self.env | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def whoami(self) -> tuple[str, str]:
        who = json.loads(self.run("whoami", "--json").out)
        return who.get("user", {}).get("username", ""), who["deviceName"]

    def texts(self, body: str) -> Any:
        channel = {"name": "acme.vpn", "members_type": "team", "topic_name": "announce"}
        request = {"channel": channel, "message": {"body": body}}
        done = self.run(
            "chat", "api", stdin=json.dumps({"method": "send", "params": {"options": request}})
        )
        return json.loads(done.out)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(PATIENCE)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("cloud")
    described = {
        "SIMULATOR_MEMBERS": "alice=owner bob=writer",
        "SIMULATOR_PAPERKEYS": f"alice: {PHRASE}; bob: {OTHER}",
        "SIMULATOR_TIME_SCALE": "0.02",
    }
    argv = ["python3", "-m", "integration.keybase_simulator.server", "--root", str(root)]
    process = subprocess.Popen(argv, cwd=REPOSITORY, env=os.environ | described)
    wait_for_socket(root)
    yield root
    process.kill()
    process.wait(PATIENCE)


@pytest.fixture
def machine(cloud: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    running = Machine(cloud, tmp_path_factory.mktemp("home"))
    yield running
    running.stop()


def test_a_oneshot_acts_as_the_paper_keys_own_device_and_is_gone_with_the_service(
    machine: Machine,
) -> None:
    service = machine.service()
    assert machine.whoami() == ("", "")
    assert "Login required" in machine.texts("hello")["error"]["message"]

    assert machine.run("oneshot", "-u", "alice", stdin=PHRASE + "\n") == Done(0, "", "")

    assert machine.whoami() == ("alice", "wine crazy")
    assert json.loads(machine.run("status", "--json").out)["Device"]["type"] == "backup"
    assert machine.texts("hello")["result"]["id"] > 0
    again = machine.run("oneshot", "-u", "alice", stdin=PHRASE)
    assert again.code == 2
    assert "already logged in as a different user" in again.err
    assert list(machine.home.rglob("*.ss2")) == []

    service.kill()
    service.wait(PATIENCE)
    assert "dial unix" in machine.run("whoami").err
    machine.service()
    assert machine.whoami() == ("", "")


def test_a_named_device_outlives_its_service_but_not_its_home(
    machine: Machine, cloud: Path, tmp_path: Path
) -> None:
    service = machine.service()
    login = ("login", "--devicename", "server", "bob")
    assert machine.run(*login, stdin=OTHER).code == 0
    assert machine.run(*login, KEYBASE_PAPERKEY=OTHER).code == 0, "harmless once it is there"
    assert machine.whoami() == ("bob", "server")

    service.send_signal(signal.SIGKILL)
    service.wait(PATIENCE)
    second = machine.service()
    assert machine.whoami() == ("bob", "server"), "a stale socket is taken over"
    assert machine.run("ctl", "stop").code == 0
    assert second.wait(PATIENCE) == 0

    lost = Machine(cloud, tmp_path / "new")
    try:
        lost.service()
        burnt = lost.run(*login, stdin=OTHER)
        assert (burnt.code, burnt.out) == (2, "")
        assert "device name already in use" in burnt.err
    finally:
        lost.stop()


@pytest.mark.parametrize(
    ("user", "phrase", "complaint"),
    [
        ("alice", "wine crazy tiger lamp only eight", "due to a typo in one of the words"),
        ("alice", OTHER, "due to a typo in one of the words"),
        ("carol", PHRASE, "No paper keys available"),
    ],
)
def test_a_wrong_paper_key_is_refused(
    machine: Machine, user: str, phrase: str, complaint: str
) -> None:
    machine.service()
    for argv in (("oneshot", "-u", user), ("login", "--devicename", "some", user)):
        refused = machine.run(*argv, stdin=phrase)
        assert refused.code == 2
        assert complaint in refused.err
    assert machine.whoami() == ("", "")


def test_files_are_read_while_kbfs_runs_and_again_when_the_service_comes_back(
    machine: Machine,
) -> None:
    service = machine.service()
    machine.run("oneshot", "-u", "alice", stdin=PHRASE)
    read = ("fs", "read", "/keybase/team/acme.vpn/none")
    assert "timeout waiting for kbfs" in machine.run(*read).err

    kbfs = machine.kbfs()
    assert "file does not exist" in machine.run(*read).err
    kbfs.kill()
    kbfs.wait(PATIENCE)
    assert "timeout waiting for kbfs" in machine.run(*read).err

    machine.kbfs()
    service.terminate()
    assert service.wait(PATIENCE) == 0
    machine.service()
    assert machine.run("ctl", "wait", "--include-kbfs").code == 0, "it connects again by itself"


def test_logging_out_forgets_the_device(machine: Machine) -> None:
    machine.service()
    assert machine.run("login", "--devicename", "lamp", "alice", stdin=PHRASE).code == 0
    assert machine.run("logout", "-f").code == 0
    assert machine.whoami() == ("", "")
    assert list(machine.home.rglob("*.ss2")) == []


def test_pushes_reach_a_listener_through_the_service(machine: Machine) -> None:
    machine.service()
    machine.run("oneshot", "-u", "alice", stdin=PHRASE)
    listener = subprocess.Popen(
        [KEYBASE, "chat", "api-listen", "--local"],
        env=machine.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert listener.stdout is not None
        assert listener.stderr is not None
        while b"Listening for chat" not in listener.stderr.readline():
            pass
        started = time.monotonic()
        machine.texts("pushed")
        assert b"pushed" in listener.stdout.readline()
        assert time.monotonic() - started < PATIENCE
    finally:
        listener.kill()
        listener.communicate()


def test_a_second_service_of_one_home_is_refused(machine: Machine) -> None:
    machine.service()

    second = machine.run("service")

    assert second.code == 2
    assert "error locking" in second.err
