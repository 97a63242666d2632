"""The directory is stored soon after it has changed; a full disk is a condition, not an end."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

from sidecar import cache
from sidecar.agent.cache_keeper import DELAY, RETRY, CacheKeeper
from sidecar.directory.directory import Directory
from sidecar.health import Health
from sidecar.identity import NodeId, PrivateKey
from sidecar.keybase.models import Membership, TeamRole
from sidecar.store import Store

from ...support.virtual_time import VirtualTimeLoop

SUBNET = IPv4Network("100.64.7.0/24")
KEY = PrivateKey(bytes([7]) * 32).clamped()


def a_directory() -> Directory:
    return Directory(own=NodeId("alice", "a" * 32, "host"), own_key=KEY.public_key, subnet=SUBNET)


def keep(
    store: Store,
    health: Health,
    act: Callable[[CacheKeeper, Directory], None],
    seconds: float = 2 * DELAY,
) -> None:
    """Run a keeper, for longer than it waits if nothing else is said."""

    async def scenario() -> None:
        directory = a_directory()
        keeper = CacheKeeper(store, directory, "acme", health, peers_file_known=True)
        task = asyncio.create_task(keeper.run())
        act(keeper, directory)
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())


def test_what_changed_is_there_for_the_next_start(tmp_path: Path) -> None:
    store, health = Store(tmp_path), Health()
    store.prepare()

    def change(keeper: CacheKeeper, directory: Directory) -> None:
        keeper.changed()
        # Later than the signal, and still in the same file.
        directory.handle_membership(Membership("acme", {"alice": TeamRole.OWNER}, "f" * 32))

    keep(store, health, change)

    restored = a_directory()
    assert cache.restore(restored, store.load_directory(), "acme", SUBNET)
    assert restored.membership == Membership("acme", {"alice": TeamRole.OWNER}, "f" * 32)


def test_what_changed_just_before_the_end_is_there_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()

    def change(keeper: CacheKeeper, directory: Directory) -> None:
        directory.handle_membership(Membership("acme", {"alice": TeamRole.OWNER}, "f" * 32))
        keeper.changed()

    keep(store, Health(), change, seconds=DELAY / 2)

    restored = a_directory()
    assert cache.restore(restored, store.load_directory(), "acme", SUBNET)
    assert restored.membership is not None


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()

    keep(store, Health(), lambda _keeper, _directory: None)

    assert store.load_directory() is None


def test_a_state_directory_that_is_gone_is_a_condition(tmp_path: Path) -> None:
    store, health = Store(tmp_path / "gone"), Health()

    keep(store, health, lambda keeper, _: keeper.changed())

    later = datetime.now(UTC) + timedelta(hours=1)
    assert [entry.code for entry in health.entries(later)] == ["state-unwritable"]


def test_what_could_not_be_stored_is_stored_once_it_can_be(tmp_path: Path) -> None:
    store, health = Store(tmp_path / "later"), Health()
    before_the_end: list[object] = []

    def change(keeper: CacheKeeper, _: Directory) -> None:
        keeper.changed()
        loop = asyncio.get_running_loop()
        loop.call_later(2 * DELAY, store.prepare)
        loop.call_later(DELAY + RETRY + 0.5, lambda: before_the_end.append(store.load_directory()))

    keep(store, health, change, seconds=DELAY + RETRY + 1.0)

    assert len(before_the_end) == 1
    assert before_the_end[0] is not None
    assert health.entries(datetime.now(UTC) + timedelta(hours=1)) == ()
