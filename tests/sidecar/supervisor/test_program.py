"""One program that is kept running, as a real process."""

import asyncio
import io
from pathlib import Path

import pytest

from sidecar.errors import SupervisorError
from sidecar.supervisor.output import Output
from sidecar.supervisor.program import Command, Program

PATIENCE = 20.0

ONCE = "#!/bin/sh\necho started\n"


def program(path: Path, log: io.StringIO) -> Program:
    return Program(Command("once", [str(path)], {}), Output("text", [], log))


def write(path: Path) -> None:
    path.write_text(ONCE, encoding="ascii")
    path.chmod(0o755)


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SupervisorError, match="cannot be run"):
        asyncio.run(program(tmp_path / "none", io.StringIO()).run())


def test_a_program_that_cannot_be_started_again_is_tried_until_it_can(tmp_path: Path) -> None:
    path, log = tmp_path / "once", io.StringIO()
    write(path)

    async def scenario() -> None:
        subject = program(path, log)
        running = asyncio.create_task(subject.run())
        async with asyncio.timeout(PATIENCE):
            while "started" not in log.getvalue():  # noqa: ASYNC110 - another process says it
                await asyncio.sleep(0.01)
            path.unlink()
            await asyncio.sleep(0.5)
            assert not running.done()
            write(path)
            while log.getvalue().count("started") < 2:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.01)
        await subject.stop()
        await asyncio.wait_for(running, PATIENCE)

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10])
def test_a_program_that_is_just_being_started_is_ended_as_well(turns: int) -> None:
    command = Command("sleep", ["sleep", str(2 * PATIENCE)], {"PATH": "/usr/bin:/bin"})

    async def scenario() -> None:
        subject = Program(command, Output("text", [], io.StringIO()))
        running = asyncio.create_task(subject.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        await subject.stop()
        await asyncio.wait_for(running, PATIENCE)

    asyncio.run(scenario())
