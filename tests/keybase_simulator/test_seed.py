"""The world that the environment describes, and where a device's programs find it."""

from pathlib import Path

import pytest

from integration.keybase_simulator.paths import KEYBASE, environment
from integration.keybase_simulator.seed import world_from_environment
from integration.keybase_simulator.world import ServiceError

PEERS = "/keybase/team/acme.vpn/peers.json"


def test_members_and_devices_are_words() -> None:
    world = world_from_environment(
        {
            "SIMULATOR_MEMBERS": "alice=owner bob=reader",
            "SIMULATOR_DEVICES": "alice/laptop carol/phone",
            "SIMULATOR_PEERS_JSON": "[]",
        },
        now=5.0,
    )

    assert world.teams["acme.vpn"].roles == {"alice": "owner", "bob": "reader", "carol": "writer"}
    assert sorted(world.devices) == [("alice", "laptop"), ("carol", "phone")]
    assert world.kbfs.read(PEERS, world.device("carol/phone"), now=5.0) == b"[]"
    assert world.kbfs.files[PEERS].revisions[0].writer == "alice"


def test_names_with_spaces_stand_between_commas() -> None:
    world = world_from_environment({"SIMULATOR_DEVICES": "alice/my laptop, bob/pc"}, now=0.0)

    assert sorted(world.devices) == [("alice", "my laptop"), ("bob", "pc")]


def test_an_empty_peers_json_is_no_file() -> None:
    world = world_from_environment({"SIMULATOR_PEERS_JSON": ""}, now=0.0)

    assert world.kbfs.files == {}


def test_a_whole_world_is_json() -> None:
    text = (
        '{"teams": {"a": {"x": "admin"}}, "devices": ["x/one", {"name": "x/two words", '
        '"type": "backup"}], "files": {"/keybase/team/a/f": "content"}}'
    )

    world = world_from_environment({"SIMULATOR_WORLD": text, "SIMULATOR_TIME_SCALE": "0.5"}, 0.0)

    assert world.device("x/two words").type == "backup"
    assert world.kbfs.read("/keybase/team/a/f", world.device("x/one"), 0.0) == b"content"
    assert world.time_scale == 0.5


def test_ids_follow_from_names_and_are_those_of_keybase_in_form() -> None:
    one, other = (
        world_from_environment({"SIMULATOR_DEVICES": "alice/laptop"}, now).device("alice/laptop")
        for now in (0.0, 1.0)
    )

    assert (one.id, one.uid) == (other.id, other.uid)
    assert (len(one.id), one.id[-2:], len(one.uid), one.uid[-2:]) == (32, "18", 32, "19")


@pytest.mark.parametrize(
    "described",
    [{"SIMULATOR_DEVICES": "alice"}, {"SIMULATOR_MEMBERS": "alice=king"}, {"SIMULATOR_WORLD": "{"}],
)
def test_a_malformed_world_is_refused(described: dict[str, str]) -> None:
    with pytest.raises((ServiceError, ValueError)):
        world_from_environment(described, now=0.0)


def test_a_devices_programs_find_its_service_and_the_executable(tmp_path: Path) -> None:
    assert environment(tmp_path, "alice/my laptop", path="/bin") == {
        "KEYBASE_SOCKET_FILE": f"{tmp_path}/alice/my laptop/keybased.sock",
        "KEYBASE_ALLOW_ROOT": "1",
        "PATH": f"{KEYBASE.parent}:/bin",
    }
