"""Rules kept in place, by a program that plays `nft`."""

import asyncio
import errno
from collections.abc import Callable
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import BackendError
from sidecar.firewall.nft import Firewall
from sidecar.firewall.rules import TunnelFilter

WANTED = TunnelFilter("kbwg0", frozenset({IPv4Interface("100.64.7.1/24")}))

PROGRAM = """#!/bin/sh
# Remembers the last table that it was given, and shows it when it is to be listed.
case "$2" in
    list*) cat {kept} 2>/dev/null ;;
    *) printf '%s' "$2" >{kept}; echo made >>{log} ;;
esac
"""


@pytest.fixture(name="nft")
def _nft(tmp_path: Path) -> Path:
    program = tmp_path / "nft"
    program.write_text(PROGRAM.format(kept=tmp_path / "kept", log=tmp_path / "log"))
    program.chmod(0o755)
    return program


def made(nft: Path) -> int:
    return len(nft.with_name("log").read_text().splitlines())


def flush(kept: Path) -> None:
    kept.write_text("table inet kbwg_kbwg0 {\n\tchain arriving {\n\t}\n}\n")


def test_what_stands_is_left_alone(nft: Path) -> None:
    async def scenario() -> None:
        firewall = Firewall(str(nft))
        for _ in range(3):
            await firewall.keep(WANTED)

    asyncio.run(scenario())

    assert made(nft) == 1


@pytest.mark.parametrize("harm", [Path.unlink, flush], ids=["flush-ruleset", "flush-table"])
def test_what_somebody_has_flushed_is_put_back(nft: Path, harm: Callable[[Path], None]) -> None:
    kept = nft.with_name("kept")

    async def scenario() -> None:
        firewall = Firewall(str(nft))
        await firewall.keep(WANTED)
        harm(kept)
        await firewall.keep(WANTED)

    asyncio.run(scenario())

    assert made(nft) == 2
    assert kept.read_text() == WANTED.ruleset()


def test_a_host_out_of_processes_is_told_of_and_not_died_of(
    nft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_args: Any, **_options: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    async def scenario() -> None:
        monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
        with pytest.raises(BackendError, match="cannot be run: Resource temporarily"):
            await Firewall(str(nft)).keep(WANTED)

    asyncio.run(scenario())
