"""The supervisor over real processes: the simulator's Keybase, and a program in the agent's place."""

import asyncio
import functools
import io
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from integration.keybase_simulator.paths import KEYBASE
from sidecar.errors import LoginError, SupervisorError
from sidecar.settings import Settings
from sidecar.supervisor.credentials import Credentials
from sidecar.supervisor.login import LoggedIn
from sidecar.supervisor.output import Output
from sidecar.supervisor.supervisor import Supervisor

REPOSITORY = Path(__file__).resolve().parents[3]
PHRASE = "wine crazy tiger lamp only seven"
TURN_SECRET = "north-wind"
PATIENCE = 30.0

KEYBASE_PROGRAMS = "bin/k(eybase|bfsfuse) "


def on_a_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    """Run a test on a loop in real time, because the programs are real."""

    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        asyncio.run(test(**fixtures))

    return run


AGENT = """#!/bin/sh
echo "agent $$ starts, paper key: ${KBWG_KEYBASE_PAPERKEY-none}, TURN: $KBWG_TURN_SECRET, supervised: ${KBWG_SUPERVISED-off}"
trap 'echo goodbye; exit 0' TERM
[ ! -e "$AGENT_STATUS" ] || exit "$(cat "$AGENT_STATUS")"
while :; do sleep 0.05; done
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a path short enough for a unix socket far below it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp())
    described = {"SIMULATOR_MEMBERS": "alice=owner", "SIMULATOR_PAPERKEYS": f"alice: {PHRASE}"}
    process = subprocess.Popen(
        ["python3", "-m", "integration.keybase_simulator.server", "--root", str(root)],
        cwd=REPOSITORY,
        env=os.environ | described,
    )
    yield root
    process.kill()
    process.wait()
    shutil.rmtree(root)


class Run:
    """A supervisor at work, and what its container's log says."""

    def __init__(self, place: Path, cloud: Path, **variables: object) -> None:
        programs = place / "bin"
        programs.mkdir()
        (programs / "kbwg").write_text(AGENT, encoding="ascii")
        (programs / "kbwg").chmod(0o755)
        self.status = place / "status"
        self.log = io.StringIO()
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SIMULATOR_ROOT": str(cloud),
            "KEYBASE_ALLOW_ROOT": "1",
            "AGENT_STATUS": str(self.status),
            "KBWG_KEYBASE_PAPERKEY": PHRASE,
            "KBWG_TURN_SECRET": TURN_SECRET,
        }
        given: dict[str, object] = {
            "keybase_username": "alice",
            "keybase_paperkey": PHRASE,
            **variables,
        }
        settings = Settings(
            team="acme.vpn",
            subnet="100.64.7.0/24",
            keybase=str(KEYBASE),
            state_dir=place / "state",
            runtime_dir=place / "run",
            **given,  # type: ignore[arg-type]
        )
        ours = Credentials(os.getuid(), os.getgid(), change=False, granted=())
        self.supervisor = Supervisor(settings, environment, ours, Output("text", [], self.log))

    @asynccontextmanager
    async def up(self) -> AsyncIterator["asyncio.Task[int]"]:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self.supervisor.run())
        try:
            yield task
        finally:
            self.supervisor.stop()
            with suppress(SupervisorError):
                await asyncio.wait_for(task, PATIENCE)

    async def until(self, condition: Callable[[str], bool]) -> str:
        async with asyncio.timeout(PATIENCE):
            while not condition(self.log.getvalue()):  # noqa: ASYNC110 - other processes write it
                await asyncio.sleep(0.02)
        return self.log.getvalue()


def agents(log: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"agent (\d+) starts", log)]


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0]
    except FileNotFoundError:
        return False


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8")


def children(name: str) -> list[int]:
    shown = subprocess.run(
        ["pgrep", "--parent", str(os.getpid()), "--full", name],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in shown.stdout.split() if alive(int(pid))]


@on_a_loop
async def test_the_agent_starts_once_somebody_is_logged_in_and_says_goodbye_first(
    place: Path, cloud: Path
) -> None:
    run = Run(place, cloud)
    async with run.up() as task:
        log = await run.until(lambda log: "agent" in log)
        assert log.index("keybase service is up") < log.index("agent")
        assert "paper key: none" in log, "no program sees the secret"
        assert f"TURN: {TURN_SECRET}," in log, "the agent needs it"
        inherited = [environment_of(pid) for pid in children(KEYBASE_PROGRAMS)]
        assert inherited
        assert not any(TURN_SECRET in one for one in inherited), "Keybase does not"
        assert "supervised: on" in log, "the agent may end a service that pushes nothing"
        run.supervisor.stop()
        assert await asyncio.wait_for(task, PATIENCE) == 0

    assert "goodbye" in run.log.getvalue()
    assert children(KEYBASE_PROGRAMS) == []
    assert PHRASE not in run.log.getvalue()


@on_a_loop
async def test_only_what_died_is_started_again(place: Path, cloud: Path) -> None:
    run = Run(place, cloud)
    async with run.up():
        await run.until(lambda log: len(agents(log)) == 1)
        (service,), (kbfs,) = children("keybase.*service"), children("kbfsfuse")

        os.kill(agents(run.log.getvalue())[0], signal.SIGKILL)
        log = await run.until(lambda log: len(agents(log)) == 2)
        assert (children("keybase.*service"), children("kbfsfuse")) == ([service], [kbfs])

        os.kill(service, signal.SIGKILL)
        await run.until(lambda log: log.count("keybase service is up") == 2)
        await run.until(lambda log: log.count("kbfs is connected") == 2)
        assert children("kbfsfuse") == [kbfs]

        os.kill(kbfs, signal.SIGKILL)
        log = await run.until(lambda log: log.count("kbfs is connected") == 3)
        assert len(agents(log)) == 2, "the agent never noticed"


@on_a_loop
async def test_a_oneshot_is_made_again_when_the_service_comes_back(
    place: Path, cloud: Path
) -> None:
    run = Run(place, cloud)
    home = place / "state" / "keybase"
    environment = os.environ | {"KEYBASE_ALLOW_ROOT": "1", "KEYBASE_NO_AUTO_FORK": "1"}

    async def who() -> str:
        process = await asyncio.create_subprocess_exec(
            KEYBASE, "--home", home, "whoami", env=environment, stdout=-1, stderr=-3
        )
        out, _ = await process.communicate()
        return out.decode().strip()

    async with run.up():
        await run.until(lambda log: len(agents(log)) == 1)
        assert await who() == "alice"
        os.kill(children("keybase.*service")[0], signal.SIGKILL)
        await run.until(lambda log: log.count("keybase service is up") == 2)
        async with asyncio.timeout(PATIENCE):
            while await who() != "alice":  # noqa: ASYNC110 - another process logs in
                await asyncio.sleep(0.05)


@on_a_loop
async def test_a_login_that_is_refused_later_does_not_end_the_agent(
    place: Path, cloud: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(place, cloud)
    refused = asyncio.Event()

    async def refuse(*_: object) -> LoggedIn:
        refused.set()
        raise LoginError("this user has no such paper key, or it was revoked")

    async with run.up() as task:
        log = await run.until(lambda log: len(agents(log)) == 1)
        monkeypatch.setattr(run.supervisor._client, "log_in", refuse)
        os.kill(children("keybase.*service")[0], signal.SIGKILL)
        await asyncio.wait_for(refused.wait(), PATIENCE)
        await asyncio.sleep(0.5)
        assert not task.done()
        assert agents(run.log.getvalue()) == agents(log)
        assert alive(agents(log)[0])


@on_a_loop
async def test_after_kbwg_down_it_stays_down_until_the_container_is_restarted(
    place: Path, cloud: Path
) -> None:
    run = Run(place, cloud)
    async with run.up() as task:
        await run.until(lambda log: len(agents(log)) == 1)
        os.kill(agents(run.log.getvalue())[0], signal.SIGTERM)
        await run.until(lambda log: "goodbye" in log)
        await asyncio.sleep(1)
        assert len(agents(run.log.getvalue())) == 1
        assert children("keybase.*service"), "the container stays"
        assert not task.done()


@on_a_loop
async def test_an_agent_that_cannot_start_ends_the_container_with_its_status(
    place: Path, cloud: Path
) -> None:
    run = Run(place, cloud)
    run.status.write_text("2")
    async with run.up() as task:
        assert await asyncio.wait_for(task, PATIENCE) == 2
    assert children(KEYBASE_PROGRAMS) == []


@on_a_loop
async def test_a_name_that_is_burnt_ends_the_container_and_says_so(
    place: Path, cloud: Path
) -> None:
    (place / "first").mkdir()
    (place / "second").mkdir()
    first = Run(place / "first", cloud, keybase_device="server")
    async with first.up():
        await first.until(lambda log: len(agents(log)) == 1)

    second = Run(place / "second", cloud, keybase_device="server")
    async with second.up() as task:
        with pytest.raises(LoginError, match="'server' IS BURNT"):
            await asyncio.wait_for(task, PATIENCE)

    assert agents(second.log.getvalue()) == []
    assert children(KEYBASE_PROGRAMS) == []
