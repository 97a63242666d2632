"""Teams, devices, caches and the faults of servers (§1.3, §1.4, §2, §6)."""

import json
import time

import pytest

from integration.keybase_simulator.world import (
    BIG_TEAM,
    ROTATION_INTERVAL,
    ROTATION_SECONDS,
    Team,
    World,
)

from .support import PATIENCE, TEAM, Simulator, channel

KEY_INVALID = "key invalid for sender at message ctime"


def memberships(keybase: Simulator) -> dict[str, list[str] | None]:
    members = keybase.alice.result("list-team-memberships", api="team", team=TEAM)["members"]
    return {
        role: None if listed is None else [member["username"] for member in listed]
        for role, listed in members.items()
    }


def test_section_6_memberships_list_every_role_and_null_for_none(own: Simulator) -> None:
    answer = own.bob.result("list-team-memberships", api="team", team=TEAM)

    assert list(answer) == [
        "name", "members", "keyGeneration", "annotatedActiveInvites", "settings", "showcase",
    ]  # fmt: skip
    [owner] = answer["members"]["owners"]
    assert list(owner) == [
        "uv", "username", "fullName", "needsPUK", "status", "joinTime", "role",
    ]  # fmt: skip
    assert (owner["username"], owner["status"], owner["role"]) == ("alice", 0, 4)
    assert memberships(own) == {
        "owners": ["alice"], "admins": None, "writers": ["bob"], "readers": ["carol"],
        "bots": None, "restrictedBots": None,
    }  # fmt: skip


def test_section_2_a_changed_role_and_a_removed_member_show_at_once(own: Simulator) -> None:
    own.admin.set_role(TEAM, "bob", "bot")
    own.admin.set_role(TEAM, "carol", "none")

    assert memberships(own) == {
        "owners": ["alice"], "admins": None, "writers": None, "readers": None, "bots": ["bob"],
        "restrictedBots": None,
    }  # fmt: skip
    text = own.carol.error("list-team-memberships", api="team", team=TEAM)
    assert text == f"user is not in team: {TEAM}"


def test_section_6_a_reset_user_has_status_1(own: Simulator) -> None:
    own.admin.reset_user("bob")

    [bob] = own.alice.result("list-team-memberships", api="team", team=TEAM)["members"]["writers"]

    assert bob["status"] == 1


def generation(keybase: Simulator) -> int:
    answer = keybase.alice.result("list-team-memberships", api="team", team=TEAM)
    return int(answer["keyGeneration"])


def wait_for_generation(keybase: Simulator, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while generation(keybase) != number:
        assert time.monotonic() < deadline, f"the key's generation does not become {number}"


def test_section_6_who_removes_a_member_rotates_the_teams_key(own: Simulator) -> None:
    assert generation(own) == 1

    own.admin.set_role(TEAM, "bob", "none")
    assert generation(own) == 2

    own.admin.set_role(TEAM, "bob", "none")
    own.admin.set_role(TEAM, "carol", "bot")
    assert generation(own) == 2, "nobody has gone"


@pytest.mark.parametrize("event", ["a device is revoked", "a user is reset"])
def test_section_6_a_members_client_rotates_the_key_soon_after(own: Simulator, event: str) -> None:
    if event == "a device is revoked":
        own.admin.revoke("alice/phone")
    else:
        own.admin.reset_user("bob")

    wait_for_generation(own, 2)
    time.sleep(2 * ROTATION_SECONDS * 0.2)
    assert generation(own) == 2, "once"


def test_section_6_the_key_is_rotated_once_a_client_is_there_whose_user_may_write() -> None:
    world = World()
    team = world.teams[TEAM] = Team(TEAM)
    for username, role in (("alice", "owner"), ("bob", "writer"), ("carol", "reader")):
        team.set_role(username, role, 0.0)
    phone, server = world.add_device("alice/phone"), world.add_device("bob/server")
    world.add_device("carol/tablet")
    server.online = False

    world.revoke(phone, 100.0)

    assert world.generation(team, 100.0 + 10 * ROTATION_SECONDS) == 1, "readers may not"
    server.online = True
    assert world.generation(team, 200.0) == 2
    assert world.generation(team, 300.0) == 2


def test_section_6_a_large_team_rotates_a_young_key_later() -> None:
    world = World()
    team = world.teams[TEAM] = Team(TEAM)
    for number in range(BIG_TEAM + 1):
        team.set_role(f"user{number}", "writer", 0.0)
    world.add_device("user9/host")
    old = team.rotated_at + ROTATION_INTERVAL + 1

    team.set_role("user0", "none", old)
    team.set_role("user1", "none", old + 1)

    assert team.generation == 2, "the first found an old key, the second a young one"
    assert world.generation(team, old + 1 + ROTATION_SECONDS) == 3, "which the servers remember"


def test_section_6_restricted_bots_have_no_key_that_could_be_rotated() -> None:
    world = World()
    team = world.teams[TEAM] = Team(TEAM)
    team.set_role("alice", "owner", 0.0)
    team.set_role("robot", "restrictedbot", 0.0)
    world.add_device("alice/laptop")

    world.revoke(world.add_device("robot/arm"), 100.0)

    assert world.generation(team, 200.0) == 1


def test_section_6_self_memberships_need_no_options(keybase: Simulator) -> None:
    done = keybase.carol.run("team", "api", "-m", '{"method":"list-self-memberships"}')

    [team] = json.loads(done.out)["result"]["teams"]
    assert (team["fq_name"], team["role"], team["member_count"]) == (TEAM, 1, 3)


def test_section_6_team_errors_are_indented_where_chat_errors_are_not(keybase: Simulator) -> None:
    asked = '{"id":1,"method":"nothing"}'

    chat = keybase.alice.run("chat", "api", "-p", "-m", asked).out
    team = keybase.alice.run(
        "team",
        "api",
        "-p",
        "-m",
        '{"id":1,"method":"list-team-memberships","params":{"options":{"team":""}}}',
    ).out

    assert chat.startswith('{"id":1')
    assert team.startswith('{\n    "id": 1')


def test_section_1_4_getdeviceinfo_drinks_of_no_tank_and_tells_of_none(own: Simulator) -> None:
    before = own.bob.result("list")["ratelimits"][0]["gas"]
    assert list(own.bob.result("getdeviceinfo", username="alice")) == ["devices"]

    assert own.bob.result("list")["ratelimits"][0]["gas"] == before - 1


def test_section_1_3_getdeviceinfo_lists_devices_that_are_not_revoked(own: Simulator) -> None:
    [laptop, phone] = own.bob.result("getdeviceinfo", username="alice")["devices"]

    assert list(laptop) == ["id", "description", "type", "ctime"]
    assert (laptop["description"], laptop["type"], len(laptop["id"])) == ("laptop", "desktop", 32)
    assert phone["description"] == "phone"
    assert own.bob.result("getdeviceinfo", username="nobody")["devices"] is None


def test_section_2_a_revocation_reaches_the_own_user_at_once_and_others_after_their_cache(
    own: Simulator,
) -> None:
    def names(host: str) -> list[str]:
        devices = getattr(own, host).result("getdeviceinfo", username="alice")["devices"]
        return [device["description"] for device in devices]

    assert names("bob") == ["laptop", "phone"]
    own.admin.revoke("alice/phone")

    assert names("alice") == ["laptop"]
    assert names("bob") == ["laptop", "phone"]
    assert names("carol") == ["laptop"], "who had not asked before has nothing in its cache"
    own.admin.stop_service("bob/server")
    own.admin.start_service("bob/server")
    assert names("bob") == ["laptop"]


def test_section_2_revoked_device_is_as_it_was_when_this_client_unboxed_the_message(
    own: Simulator,
) -> None:
    own.phone.send("revoked", "hello")
    assert own.bob.texts("revoked") == ["hello"]

    own.admin.revoke("alice/phone")

    def flag(host: str) -> bool:
        entry = getattr(own, host).read("revoked")["messages"][0]
        return bool(entry["msg"].get("revoked_device", False))

    assert not flag("bob"), "read before: kept with the cached message"
    assert not flag("alice"), "pushed before, to who is in the channel"
    assert flag("carol"), "first seen after the revocation"


def test_section_2_a_message_of_a_device_revoked_before_is_an_error_entry(own: Simulator) -> None:
    own.alice.send("late", "hello")
    own.admin.revoke("bob/server")

    own.admin.post(TEAM, "late", "bob/server", "too late")

    assert own.alice.read("late")["messages"][0] == {"error": KEY_INVALID}
    assert own.bob.error("list") == "Login required"


def test_section_2_missing_names_are_left_out(keybase: Simulator) -> None:
    keybase.admin.post(TEAM, "names", "bob/server", "x", omit_device_name=True)
    keybase.admin.post(TEAM, "names", "bob/server", "y", omit_username=True, omit_device_name=True)

    bare, nameless = (
        entry["msg"]["sender"] for entry in keybase.alice.read("names")["messages"][:2]
    )

    assert list(nameless) == ["uid", "username", "device_id"]
    assert list(bare) == ["uid", "device_id"]


def test_section_2_error_entries_have_neither_id_nor_sender(keybase: Simulator) -> None:
    text = (
        "This exploding message is not available because this device was created after it was sent"
    )
    keybase.admin.post(TEAM, "errors", "bob/server", "", error=text)

    assert keybase.alice.read("errors")["messages"][0] == {"error": text}


def test_section_2_ctime_is_the_servers(own: Simulator) -> None:
    own.alice.send("clock", "hello")
    own.admin.order("clock-skew", -7200)
    own.alice.send("clock", "two hours ago")
    own.admin.post(TEAM, "clock", "alice/laptop", "long ago", sent_at_ms=5_000)

    old, skewed, first = (e["msg"]["sent_at_ms"] for e in own.bob.read("clock")["messages"][:3])

    assert old == 5_000
    assert 7_190_000 < first - skewed <= 7_200_000


def test_section_1_4_a_rate_limit_names_its_fields_otherwise_than_a_result(own: Simulator) -> None:
    own.admin.set("alice/laptop", "rate_limited", 1)

    limited, usual = own.alice.api("list"), own.alice.api("list")

    assert limited["error"]["data"] == {
        "name": "chat", "callsRemaining": 0, "windowReset": 1, "maxCalls": 900,
    }  # fmt: skip
    assert list(usual["result"]["ratelimits"][0]) == ["tank", "capacity", "reset", "gas"]


def test_section_1_3_offline_reads_are_cached_unless_told_to_fail(own: Simulator) -> None:
    own.alice.send("offline", "hello")
    own.admin.set("alice/laptop", "online", False)
    text = "operation failed: no connection to chat server"
    wanted = channel("offline")

    assert own.alice.read("offline")["offline"] is True
    assert own.alice.error("read", channel=wanted, fail_offline=True) == text
    assert own.alice.error("send", channel=wanted, message={"body": "x"}) == text
    assert own.alice.run("whoami").out == "alice\n"
    memberships_text = own.alice.error("list-team-memberships", api="team", team=TEAM)
    assert memberships_text.startswith("API network error: doRetry failed, attempts: 3")


def test_section_1_3_a_nonblocking_message_waits_for_the_network(own: Simulator) -> None:
    own.alice.send("queue", "hello")
    own.admin.set("alice/laptop", "online", False)
    own.alice.send("queue", "queued", nonblock=True)
    assert own.bob.texts("queue") == ["hello"]

    own.admin.set("alice/laptop", "online", True)

    assert own.bob.texts("queue") == ["queued", "hello"]


def test_latency_is_added_to_every_call_on_order(own: Simulator) -> None:
    own.admin.order("latency", 0.3)

    asking = own.alice.start("chat", "api", "-m", '{"method":"list"}')

    assert asking.outlives(0.25)
    assert asking.end().code == 0


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("set", ["alice/laptop", "nothing", True]),
        ("set", ["nobody/x", "online", True]),
        ("role", [TEAM, "bob", "king"]),
        ("messages", [TEAM, "nowhere"]),
        ("add-device", ["alice"]),
        ("dance", []),
        ("post", []),
        ("events", ["explode", 1]),
    ],
)
def test_impossible_orders_are_refused(keybase: Simulator, verb: str, args: list[object]) -> None:
    with pytest.raises(RuntimeError, match=r"."):
        keybase.admin.order(verb, *args)


def test_dump_shows_the_world(own: Simulator) -> None:
    own.alice.send("dump", "hello")

    world = own.admin.order("dump")

    assert world["teams"][TEAM]["carol"] == "reader"
    assert world["conversations"][f"{TEAM}#dump (chat)"]["joined"] == ["alice"]
