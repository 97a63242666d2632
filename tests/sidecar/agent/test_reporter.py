"""When the reporter looks at what is wrong."""

import asyncio
from datetime import datetime
from typing import Any
from unittest.mock import MagicMock

import pytest

from sidecar.agent import reporter
from sidecar.agent.reporter import NOTE_INTERVAL, Reporter

from ...support.virtual_time import VirtualTimeLoop


def test_what_is_wrong_is_noted_before_anybody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[float] = []

    def note(*_: Any, now: datetime, **__: Any) -> None:
        assert now.tzinfo is not None
        notes.append(asyncio.get_running_loop().time())

    monkeypatch.setattr(reporter, "note_conditions", note)

    async def scenario() -> None:
        part: Any = MagicMock()
        looking = asyncio.create_task(
            Reporter(part, part, part, network=part, device=part, health=part, counters=dict).run()
        )
        await asyncio.sleep(3.5 * NOTE_INTERVAL)
        looking.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())

    assert notes == [0.0, NOTE_INTERVAL, 2 * NOTE_INTERVAL, 3 * NOTE_INTERVAL]
