"""The official Python bot library, as it is published, on the simulator: it cannot tell.

The Go library's calls are replayed in `tests/keybase_simulator/test_go_bot.py`.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import REPOSITORY
from .keybase_simulator.admin import SimulatorAdmin
from .keybase_simulator.paths import KEYBASE
from .waiting import wait_for

LIBRARY = REPOSITORY / ".tools" / "pykeybasebot" / "bin" / "python"
"""A Python that has pykeybasebot, which no longer goes together with current libraries
(`provision.sh`)."""

PHRASE = "wine crazy tiger lamp only seven"
TEAM, TOPIC = "acme.vpn", "bots"
PATIENCE = 20.0


class Bot:
    """The library's bot as a process, and what it has told."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        argv = [str(LIBRARY), "-m", "integration.pykeybase_echo", "alice", TEAM, TOPIC]
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                argv, cwd=REPOSITORY, env=environment, stdout=out, stderr=subprocess.STDOUT
            )

    def told(self, what: str, **fields: Any) -> list[dict[str, Any]]:
        lines = [line for line in self.log.splitlines() if line.startswith('{"what"')]
        wanted = {"what": what, **fields}
        return [told for line in lines if wanted.items() <= (told := json.loads(line)).items()]

    def wait_for(self, what: str, **fields: Any) -> dict[str, Any]:
        wait_for(
            lambda: self.told(what, **fields) or not self.lives,
            PATIENCE,
            f"the bot tells {what}",
        )
        found = self.told(what, **fields)
        assert found, self.log
        return found[-1]

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Machine:
    """A simulated Keybase, and a service in a home of its own for the bot to log in to."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "simulator"
        self._home = directory / "home"
        self._home.mkdir()
        described = {
            "SIMULATOR_MEMBERS": "alice=owner bob=writer",
            "SIMULATOR_DEVICES": "bob/desktop",
            "SIMULATOR_PAPERKEYS": f"alice: {PHRASE}",
        }
        server = ["python3", "-m", "integration.keybase_simulator.server", "--root", str(self.root)]
        self._server = subprocess.Popen(server, cwd=REPOSITORY, env={**os.environ, **described})
        wait_for((self.root / "admin.sock").is_socket, PATIENCE, "the simulator serves")
        self.admin = SimulatorAdmin(self.root)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "KEYBASE_"))}
        self.environment = {
            **inherited,
            "HOME": str(self._home),
            "PATH": f"{KEYBASE.parent}:{os.environ['PATH']}",
            "SIMULATOR_ROOT": str(self.root),
            "KEYBASE_ALLOW_ROOT": "1",
            "KEYBASE_NO_AUTO_FORK": "1",
            "PAPERKEY": PHRASE,
        }
        self.start_service()

    def start_service(self) -> None:
        argv = [str(KEYBASE), "service"]
        self._service = subprocess.Popen(argv, env=self.environment, stderr=subprocess.DEVNULL)
        subprocess.run([KEYBASE, "ctl", "wait"], env=self.environment, check=True)

    def kill_service(self) -> None:
        self._service.kill()
        self._service.wait()

    def say(self, body: str) -> int:
        return self.admin.post(TEAM, TOPIC, "bob/desktop", body)

    def texts(self) -> list[str]:
        messages = self.admin.messages(TEAM, TOPIC)
        return [m["content"]["text"]["body"] for m in messages if m["content"]["type"] == "text"]

    def stop(self) -> None:
        for process in (self._service, self._server):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    running = Machine(tmp_path_factory.mktemp("bots"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def bot(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    running = Bot(machine.environment, tmp_path_factory.mktemp("bot") / "log")
    try:
        running.wait_for("initialized")
        wait_until_listening(machine, running)
        yield running
    finally:
        running.stop()


def wait_until_listening(machine: Machine, bot: Bot) -> None:
    """Say something until the bot hears it: nothing is replayed, and it tells of no banner."""
    asked = f"listening at {time.monotonic()}"

    def hears() -> bool:
        assert bot.lives, bot.log
        machine.say(asked)
        time.sleep(0.2)
        return bool(bot.told("heard", body=asked))

    wait_for(hears, PATIENCE, "the bot listens")


def test_it_logs_in_by_its_paper_key_and_creates_the_channel_by_sending(
    machine: Machine, bot: Bot
) -> None:
    assert bot.wait_for("initialized")["id"] == 3
    assert machine.texts()[0] == "here"


def test_it_hears_who_says_what_and_answers(machine: Machine, bot: Bot) -> None:
    machine.say("ping")

    assert bot.wait_for("heard", body="ping") == {
        "what": "heard", "body": "ping", "sender": "bob", "device": "desktop",
    }  # fmt: skip
    assert bot.wait_for("sent")["id"] > 0
    assert machine.texts()[-1] == "pong"


def test_it_reads_the_channel_and_lists_its_conversations(machine: Machine, bot: Bot) -> None:
    machine.say("look")

    found = bot.wait_for("read")
    assert found["texts"][0] == "look"
    assert found["texts"][-1] == "here"
    assert found["topics"] == [TOPIC]


def test_it_reacts_and_edits(machine: Machine, bot: Bot) -> None:
    number = machine.say("touch")

    bot.wait_for("touched")
    kinds = [m["content"]["type"] for m in machine.admin.messages(TEAM, TOPIC) if m["id"] > number]
    assert kinds == ["reaction", "edit"]


def test_it_finds_the_service_again_that_was_killed(machine: Machine, bot: Bot) -> None:
    machine.kill_service()
    time.sleep(2.5)  # its listener ends within about a second
    machine.start_service()

    wait_until_listening(machine, bot)
    before = len(bot.told("sent"))
    machine.say("ping")
    wait_for(lambda: len(bot.told("sent")) > before, PATIENCE, "it answers again")
