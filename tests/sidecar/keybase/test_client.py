"""The client on the simulator's real processes: what the CLI does to it, and that it gets over it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from integration.keybase_simulator.paths import KEYBASE
from sidecar.errors import (
    KbfsError,
    KeybaseError,
    KeybaseUnavailableError,
    LoggedOutError,
    RateLimitedError,
)
from sidecar.keybase import client as client_module
from sidecar.keybase import process
from sidecar.keybase.budget import Priority
from sidecar.keybase.client import KeybaseClient
from sidecar.keybase.models import Channel, ChatMessage

from ...keybase_simulator.support import TEAM, Simulator, simulator

CHANNEL = Channel(TEAM, "announce")
PEERS = f"/keybase/team/{TEAM}/peers.json"

T = TypeVar("T")


@pytest.fixture(scope="module")
def keybase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with simulator(tmp_path_factory.mktemp("keybase")) as running:
        yield running


@pytest.fixture
def client(keybase: Simulator, monkeypatch: pytest.MonkeyPatch) -> KeybaseClient:
    """The client on alice's laptop."""
    for name, value in keybase.alice.env.items():
        monkeypatch.setenv(name, value)
    return KeybaseClient(program=str(KEYBASE))


def run(client: KeybaseClient, play: Callable[[], Awaitable[T]]) -> T:
    async def scenario() -> T:
        try:
            return await play()
        finally:
            await client.close()

    return asyncio.run(scenario())


async def fails(call: Awaitable[object], kind: type[KeybaseError]) -> None:
    with pytest.raises(kind):
        await call


async def read(
    client: KeybaseClient,
    channel: Channel,
    *,
    after: int,
    history: float | None = None,
    now: float = 0.0,
) -> list[ChatMessage]:
    """Return all that a read finds, oldest first."""
    pages = client.read(channel, after=after, history=history, now=now)
    return [message async for page in pages for message in page][::-1]


def test_a_pipe_that_a_call_during_an_outage_has_poisoned_is_replaced(
    keybase: Simulator, client: KeybaseClient
) -> None:
    async def play() -> int:
        await client.send(CHANNEL, "before")
        keybase.admin.stop_service("alice/laptop", kill=True)
        await fails(client.send(CHANNEL, "lost"), KeybaseUnavailableError)
        await fails(read(client, CHANNEL, after=0), KeybaseUnavailableError)
        keybase.admin.start_service("alice/laptop")
        number = await client.send(CHANNEL, "after")
        assert [m.text for m in await read(client, CHANNEL, after=number - 1)] == ["after"]
        return number

    assert run(client, play) > 0


def test_a_service_that_restarts_between_two_calls_is_not_noticed(
    keybase: Simulator, client: KeybaseClient
) -> None:
    async def play() -> None:
        await client.send(CHANNEL, "before")
        keybase.admin.stop_service("alice/laptop")
        keybase.admin.start_service("alice/laptop")
        await client.send(CHANNEL, "after")

    run(client, play)
    assert client.counters["spawned"] == 1


def test_a_service_that_hangs_costs_one_time_out_and_no_later_answer(
    keybase: Simulator, client: KeybaseClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.keybase.pipe.CALL_TIMEOUT", 0.5)

    async def play() -> None:
        await client.send(CHANNEL, "before")
        keybase.admin.set("alice/laptop", "stalled", True)
        await fails(client.membership(TEAM), KeybaseUnavailableError)
        await fails(client.send(CHANNEL, "hangs"), KeybaseUnavailableError)
        keybase.admin.set("alice/laptop", "stalled", False)
        assert "bob" in (await client.membership(TEAM)).roles
        await client.send(CHANNEL, "after")

    run(client, play)


def test_logged_out_is_said_as_it_is_and_ends_by_logging_in(
    keybase: Simulator, client: KeybaseClient
) -> None:
    async def play() -> None:
        keybase.admin.set("alice/laptop", "logged_in", False)
        await fails(client.send(CHANNEL, "x"), LoggedOutError)
        await fails(client.membership(TEAM), LoggedOutError)
        await fails(client.device_ids("bob"), LoggedOutError)
        keybase.admin.set("alice/laptop", "logged_in", True)
        await client.send(CHANNEL, "in again")

    run(client, play)


def test_a_refusal_is_heeded_by_every_call_without_asking_again(
    keybase: Simulator, client: KeybaseClient
) -> None:
    async def play() -> None:
        await client.join(CHANNEL)
        keybase.admin.order("rate-limit", "alice", 2, 1)
        await client.send(CHANNEL, "one")
        await client.send(CHANNEL, "two")
        with pytest.raises(RateLimitedError) as refused:
            await client.send(CHANNEL, "three")
        assert 0 < refused.value.reset <= 1
        await fails(read(client, CHANNEL, after=0), RateLimitedError)
        assert client.counters["rate-limited"] == 1, "the second was not even asked"
        await asyncio.sleep(1.2)
        keybase.admin.order("rate-limit", "alice", "off")
        await client.send(CHANNEL, "four")

    run(client, play)


def test_background_calls_are_put_off_when_half_of_the_tank_is_gone(
    keybase: Simulator, client: KeybaseClient
) -> None:
    async def play() -> None:
        keybase.admin.order("rate-limit", "alice", 8, 60)
        for _ in range(5):
            await client.send(CHANNEL, "x")
        await fails(client.send(CHANNEL, "later", Priority.BACKGROUND), RateLimitedError)
        assert await client.device_ids("bob"), "which is no call of chat's"
        await client.send(CHANNEL, "still")
        keybase.admin.order("rate-limit", "alice", "off")

    run(client, play)
    assert client.counters["call-put-off"] == 1


def test_offline_nothing_cached_is_taken_for_news(
    keybase: Simulator, client: KeybaseClient
) -> None:
    async def play() -> None:
        await client.send(CHANNEL, "before")
        keybase.admin.set("alice/laptop", "online", False)
        await fails(read(client, CHANNEL, after=0), KeybaseUnavailableError)
        await fails(client.send(CHANNEL, "x"), KeybaseUnavailableError)
        await fails(client.membership(TEAM), KeybaseUnavailableError)
        keybase.admin.set("alice/laptop", "online", True)
        assert (await read(client, CHANNEL, after=0))[-1].text == "before"

    run(client, play)


def test_a_percent_sign_in_the_status_does_not_hide_who_we_are(
    keybase: Simulator, client: KeybaseClient
) -> None:
    keybase.admin.set("alice/laptop", "mangled", True)
    try:
        device = run(client, client.device)
    finally:
        keybase.admin.set("alice/laptop", "mangled", False)

    assert (device.username, device.name) == ("alice", "laptop")
    assert len(device.device_id) == 32


def test_null_lists_are_empty_ones(keybase: Simulator, client: KeybaseClient) -> None:
    async def play() -> None:
        await client.send(CHANNEL, "x")
        keybase.admin.set("alice/laptop", "nulls", True)
        assert await read(client, CHANNEL, after=0) == []
        assert await client.device_ids("bob") == {}
        await fails(client.membership(TEAM), KeybaseError)

    try:
        run(client, play)
    finally:
        keybase.admin.set("alice/laptop", "nulls", False)


def test_a_history_with_gaps_and_more_than_a_thousand_messages_is_read_whole(
    keybase: Simulator, client: KeybaseClient
) -> None:
    long = Channel(TEAM, "long")
    for number in range(1500):
        keybase.admin.post(TEAM, "long", "bob/server", f"{number}")
    keybase.admin.order("gap", TEAM, "long", 100, 899)  # two pages with nothing on them
    keybase.admin.post(TEAM, "long", "bob/server", "", error="exploded")

    async def play() -> list[str | None]:
        await client.join(long)
        return [m.text for m in await read(client, long, after=2) if m.text is not None]

    wanted = [f"{number}" for number in range(1500) if not 100 <= number + 3 <= 899]
    assert run(client, play) == wanted
    assert client.counters["message-unreadable"] == 1


def test_what_was_deleted_long_ago_is_not_looked_for_again_and_again(
    keybase: Simulator, client: KeybaseClient
) -> None:
    gone = Channel(TEAM, "gone")
    for number in range(1500):
        keybase.admin.post(TEAM, "gone", "bob/server", f"{number}")
    keybase.admin.order("delete-history", TEAM, "gone", "bob/server", 1503)

    def left() -> int:
        tank: dict[str, int] = keybase.alice.result("list")["ratelimits"][0]
        return tank["gas"]

    async def play() -> list[int]:
        await client.join(gone)
        keybase.admin.order("rate-limit", "alice", 100, 600)
        before = left()
        found = [m.id async for page in client.read(gone, after=1450) for m in page]
        assert before - left() - 1 == 1, "one page holds all that may be new"
        return found

    try:
        assert run(client, play) == [1504, 1503]
    finally:
        keybase.admin.order("rate-limit", "alice", "off")


def test_history_ends_where_it_is_old_by_the_servers_clock_whatever_ours_says(
    keybase: Simulator, client: KeybaseClient
) -> None:
    old = Channel(TEAM, "old")
    now_ms = int(time.time() * 1000)
    for hours in (9, 5, 3, 0):
        sent_at = now_ms - hours * 3_600_000
        keybase.admin.post(TEAM, "old", "bob/server", f"{hours}", sent_at_ms=sent_at)

    async def play() -> list[list[str | None]]:
        await client.join(old)
        return [
            [
                m.text
                for m in await read(
                    client, old, after=0, history=4 * 3600, now=now_ms / 1000 + skew
                )
                if m.text is not None
            ]
            for skew in (0, 10 * 3600, -3 * 3600)
        ]

    exact, ahead, behind = run(client, play)
    assert exact == ["3", "0"]
    assert ahead == ["3", "0"], "a host whose clock is ahead does not miss everything"
    assert behind == ["5", "3", "0"]


def test_a_kbfs_that_does_not_answer_costs_its_time_out_and_says_nothing_of_the_file(
    keybase: Simulator, client: KeybaseClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "FILE_TIMEOUT", 0.5)
    keybase.admin.write_file(PEERS, "[]")

    async def play() -> None:
        keybase.admin.set("alice/laptop", "kbfs_up", False)
        began = time.monotonic()
        await fails(client.read_file(PEERS), KbfsError)
        assert time.monotonic() - began < 4
        keybase.admin.set("alice/laptop", "kbfs_up", True)
        assert await client.read_file(PEERS) == b"[]"

    run(client, play)


def test_what_is_posted_is_heard_with_its_channel_and_the_end_is_told(
    keybase: Simulator, client: KeybaseClient
) -> None:
    async def play() -> None:
        await client.join(CHANNEL)
        async with client.listen([CHANNEL]) as listening:
            number = await client.send(CHANNEL, "own")
            pushed = await listening.receive()
            assert pushed is not None
            assert (pushed.channel, pushed.message.id) == (CHANNEL, number)
            keybase.admin.post(TEAM, "announce", "bob/server", "", error="exploded")
            assert await listening.receive() is None
            keybase.admin.stop_service("alice/laptop")
            await fails(listening.receive(), KeybaseUnavailableError)
        keybase.admin.start_service("alice/laptop")

    run(client, play)


def test_a_listener_for_a_channel_that_is_not_there_says_why(
    keybase: Simulator, client: KeybaseClient
) -> None:
    async def play() -> None:
        async with client.listen([Channel(TEAM, "nowhere")]):
            raise AssertionError("it listens")

    with pytest.raises(KeybaseError, match="no conversations matched"):
        run(client, play)


def test_the_cli_sees_nothing_that_is_meant_for_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_TURN_SECRET", "north-wind")
    monkeypatch.setenv("KEYBASE_RUN_MODE", "staging")

    async def scenario() -> bytes:
        running = await process.start(["env"], stdin=asyncio.subprocess.DEVNULL)
        return (await running.communicate())[0]

    printed = asyncio.run(scenario()).decode()
    assert "north-wind" not in printed
    assert "KEYBASE_RUN_MODE=staging" in printed, "what is Keybase's stays"
