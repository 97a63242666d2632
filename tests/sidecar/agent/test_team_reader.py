"""What the team has decided: read for ever, and kept when it cannot be read; in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

import pytest

from sidecar.agent.team_reader import CONFLICT_INTERVAL, LAST_RETRY, TeamReader
from sidecar.errors import KbfsError, KeybaseError, KeybaseUnavailableError
from sidecar.health import Condition, Health
from sidecar.keybase.client import KeybaseClient
from sidecar.keybase.models import Membership, TeamRole
from sidecar.peers_file import PeersFile
from sidecar.team_config import TeamConfig

from ...support import virtual_time

FOLDER = "/keybase/team/acme"
PEERS = f"{FOLDER}/peers.json"
CONFIG = f"{FOLDER}/kbwg.json"
GOOD = b'[{"username": "bob", "device": "server", "ip": "100.64.7.2"}]'
INTERVAL = 30.0


class Team(KeybaseClient):
    """A team whose files and members change and go."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.members: Membership | None = Membership("acme", {"alice": TeamRole.OWNER})
        self.kbfs = True
        self.looks: list[tuple[float, str]] = []

    def _look(self, what: str) -> None:
        self.looks.append((asyncio.get_running_loop().time(), what))

    async def membership(self, team: str) -> Membership:
        self._look("members")
        if self.members is None:
            raise KeybaseUnavailableError("away")
        return self.members

    async def team_id(self, team: str) -> str:
        raise KeybaseError("not now")

    async def read_file(self, path: str) -> bytes | None:
        self._look(path)
        if not self.kbfs:
            raise KbfsError("timeout waiting for kbfs")
        return self.files.get(path)

    async def list_folder(self, path: str) -> tuple[str, ...]:
        self._look(path)
        if not self.kbfs:
            raise KbfsError("timeout waiting for kbfs")
        return tuple(name.removeprefix(f"{path}/") for name in self.files)


class Scene:
    """A reader, its team, and what it has told."""

    def __init__(self) -> None:
        self.team = Team()
        self.health = Health()
        self.memberships: list[Membership] = []
        self.files: list[PeersFile | None] = []
        self.configs: list[TeamConfig] = []
        self.reader = TeamReader(
            self.team,
            team="acme",
            subnet=IPv4Network("100.64.7.0/24"),
            interval=INTERVAL,
            health=self.health,
            on_membership=self.memberships.append,
            on_peers_file=self.files.append,
            on_team_config=lambda config, _: self.configs.append(config),
        )

    def wrong(self) -> set[str]:
        """Return what is wrong, shown or not yet."""
        later = datetime.now(UTC) + timedelta(hours=1)
        return {entry.code for entry in self.health.entries(later)}

    def looked(self, what: str) -> list[float]:
        return [at for at, found in self.team.looks if found == what]


def play(act: Callable[[Scene], Awaitable[None]], seconds: float = 0.0) -> Scene:
    return virtual_time.play(Scene, lambda scene: scene.reader.run(), act, afterwards=seconds)


def test_everything_is_looked_at_again_and_again() -> None:
    async def nothing(scene: Scene) -> None:
        scene.team.files[PEERS] = GOOD

    scene = play(nothing, 3 * INTERVAL + 1)

    assert scene.looked("members") == [0, INTERVAL, 2 * INTERVAL, 3 * INTERVAL]
    assert scene.looked(PEERS) == [n * INTERVAL for n in range(4)]
    assert scene.wrong() == set()


@pytest.mark.parametrize("torn", [b"", GOOD[:20], b"nonsense", b'{"a": 1}'])
def test_a_torn_or_empty_file_is_told_and_the_last_good_copy_stays(torn: bytes) -> None:
    async def tear(scene: Scene) -> None:
        scene.team.files[PEERS] = GOOD
        await asyncio.sleep(1)
        scene.team.files[PEERS] = torn
        await asyncio.sleep(INTERVAL)
        assert scene.wrong() == {Condition.PEERS_FILE_INVALID.code}
        scene.team.files[PEERS] = GOOD

    scene = play(tear, LAST_RETRY)

    assert len(set(map(str, scene.files))) == 1, "nothing but the good copy"
    assert scene.wrong() == set()


def test_a_kbfs_that_is_away_says_nothing_of_the_files() -> None:
    async def stall(scene: Scene) -> None:
        scene.team.files[PEERS] = GOOD
        await asyncio.sleep(1)
        scene.team.kbfs = False
        await asyncio.sleep(300)
        assert scene.wrong() == {
            Condition.PEERS_FILE_UNREADABLE.code,
            Condition.TEAM_CONFIG_UNREADABLE.code,
        }
        scene.team.kbfs = True

    scene = play(stall, LAST_RETRY)

    assert None not in scene.files, "unreadable is not absent"
    assert scene.wrong() == set()


def test_a_file_that_does_not_exist_is_no_trouble() -> None:
    async def nothing(scene: Scene) -> None:
        pass

    scene = play(nothing, 1)

    assert scene.files == [None]
    assert scene.configs == [TeamConfig()]
    assert scene.wrong() == set()


def test_members_that_cannot_be_read_are_asked_for_ever_more_rarely_and_at_once_when_they_can() -> (
    None
):
    async def outage(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.team.members = None
        await asyncio.sleep(600)
        assert Condition.MEMBERSHIP_UNREADABLE.code in scene.wrong()
        scene.team.members = Membership("acme", {"alice": TeamRole.OWNER, "bob": TeamRole.WRITER})

    scene = play(outage, LAST_RETRY)

    assert "bob" in scene.memberships[-1].roles
    tries = [at for at in scene.looked("members") if INTERVAL <= at < 601]
    assert len(tries) <= 600 / LAST_RETRY + 4
    assert scene.wrong() == set()


def test_a_conflict_copy_is_told_until_somebody_has_removed_it() -> None:
    copy = f"{FOLDER}/peers.conflicted (bob's server copy 2026-01-02).json"

    async def conflict(scene: Scene) -> None:
        scene.team.files[PEERS] = GOOD
        scene.team.files[copy] = b"[]"
        await asyncio.sleep(1)
        (entry,) = scene.health.entries(datetime.now(UTC))
        assert entry.code == Condition.PEERS_FILE_CONFLICT.code
        assert "bob's server copy" in entry.text
        del scene.team.files[copy]

    assert play(conflict, CONFLICT_INTERVAL).wrong() == set()
