"""The watch of the host's network where netlink fails, in virtual time."""

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nat.io import interfaces
from nat.io.interfaces import LONGEST_PAUSE, InterfaceWatch
from tests.support.virtual_time import VirtualTimeLoop

MINUTES = 10


def test_netlink_that_cannot_be_had_is_tried_for_ever_and_keeps_nobody_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[float] = []

    @contextmanager
    def refused(_: asyncio.Event) -> Iterator[None]:
        tries.append(asyncio.get_running_loop().time())
        raise OSError(errno.EMFILE, "Too many open files")
        yield

    async def scenario() -> None:
        watch = InterfaceWatch(exclude=frozenset(), mark=0, on_change=lambda _: None)
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(60.0 * MINUTES)
        task.cancel()

    monkeypatch.setattr(interfaces, "_notifications", refused)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())

    assert tries[1] - tries[0] <= 0.2, "a socket that was lost once is back at once"
    assert tries[-1] - tries[-2] == pytest.approx(LONGEST_PAUSE)
    assert len(tries) <= 60 * MINUTES / LONGEST_PAUSE + 10
