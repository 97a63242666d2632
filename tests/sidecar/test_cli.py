"""How the command line begins and ends an agent: what stays of the host, and what does not."""

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from sidecar import cli
from sidecar.agent import agent as agent_module
from sidecar.agent import control
from sidecar.errors import PrivilegeError, StartError
from sidecar.settings import Settings


class Host:
    """What `kbwg run` and `kbwg down` make of the host, recorded instead of done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.removed = 0
        self.adopted = False
        self.construction: Exception | None = None
        self.end: BaseException | None = None
        self.settings = Settings(
            team="acme.vpn", state_dir=tmp_path, runtime_dir=tmp_path, keybase=str(tmp_path / "no")
        )
        monkeypatch.setattr(cli, "start", self._start)
        monkeypatch.setattr(agent_module, "Agent", self._agent)
        monkeypatch.setattr(cli, "remove_all", self._remove_all)

    def run(self) -> None:
        asyncio.run(cli._run(self.settings))

    async def _start(self, *_: Any) -> Any:
        return SimpleNamespace(
            adopted=self.adopted,
            backend=SimpleNamespace(name="kernel"),
            routes=None,
            node="alice/laptop",
            identity=SimpleNamespace(listen_port=20000),
        )

    def _agent(self, *_: Any) -> Any:
        if self.construction is not None:
            raise self.construction

        async def end() -> None:
            if self.end is not None:
                raise self.end

        return SimpleNamespace(
            run=end, stop=lambda: None, keeps_tunnel=False, say_goodbye=lambda: asyncio.sleep(0)
        )

    async def _remove_all(self, *_: Any) -> None:
        self.removed += 1


@pytest.fixture(name="host")
def _host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    return Host(monkeypatch, tmp_path)


def test_an_agent_that_ends_in_order_leaves_nothing(host: Host) -> None:
    host.run()

    assert host.removed == 1


def test_an_agent_that_dies_leaves_its_tunnels_to_the_next_one(host: Host) -> None:
    host.end = BaseExceptionGroup("tasks", [ZeroDivisionError()])

    with pytest.raises(BaseExceptionGroup):
        host.run()

    assert host.removed == 0


@pytest.mark.parametrize("adopted", [False, True])
def test_a_start_that_fails_removes_what_it_has_made_and_nothing_else(
    host: Host, adopted: bool
) -> None:
    host.adopted = adopted
    host.end = BaseExceptionGroup("tasks", [PrivilegeError("no socket")])

    with pytest.raises(StartError, match="no socket"):
        host.run()

    assert host.removed == (0 if adopted else 1)


def test_an_agent_that_cannot_even_be_made_leaves_nothing(host: Host) -> None:
    host.construction = ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        host.run()

    assert host.removed == 1


def down(monkeypatch: pytest.MonkeyPatch, host: Host, answer: Exception) -> int:
    """Run `kbwg down` while the agent answers so; returns the exit status."""

    def ask(*_: Any) -> None:
        raise answer

    async def remove(_: Settings) -> None:
        host.removed += 1

    monkeypatch.setattr(control, "ask", ask)
    monkeypatch.setattr(cli, "_remove", remove)
    monkeypatch.setattr(cli, "_settings", lambda: host.settings)
    try:
        cli.down(forget=False)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def test_down_cleans_up_after_an_agent_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, host: Host
) -> None:
    assert down(monkeypatch, host, control.NoAgentError("no agent runs here")) == 0
    assert host.removed == 1


def test_down_takes_nothing_from_under_an_agent_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = control.ControlError("the agent behind /run/kbwg/kbwg0.sock does not answer: timeout")

    assert down(monkeypatch, host, answer) == 1
    assert host.removed == 0
    assert "does not answer: timeout: end its process, then try again" in capsys.readouterr().err


def test_who_only_asks_or_keeps_the_agent_does_not_load_it() -> None:
    script = "import sys, sidecar.cli; print(*sorted(sys.modules), sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()

    assert "sidecar.cli" in loaded
    assert not {"sidecar.agent.agent", "aiohttp", "async_upnp_client"} & set(loaded)


def test_a_mistyped_variable_is_told_before_anything_is_done(tmp_path: Path) -> None:
    environment = {"KBWG_TEAM": "acme.vpn", "KBWG_TAEM": "x", "KBWG_KEYBASE": str(tmp_path / "no")}

    done = subprocess.run(
        [sys.executable, "-c", "from sidecar.cli import app; app(['run'])"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "no such variable, it changes nothing variable=KBWG_TAEM meant=KBWG_TEAM" in done.stderr
    assert done.returncode != 0
