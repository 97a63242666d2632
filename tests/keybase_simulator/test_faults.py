"""Faults on command: each is a way in which the real Keybase was seen, or is known, to go wrong."""

import json
from random import Random
from typing import Any

from integration.keybase_simulator.disorder import Disorder
from integration.keybase_simulator.rates import Tank

from .support import TEAM, Simulator, channel

PEERS = f"/keybase/team/{TEAM}/peers.json"


def test_section_1_4_a_tank_shows_what_is_left_and_when_it_is_full_again(own: Simulator) -> None:
    own.admin.order("rate-limit", "alice", 3, 60)

    shown = [own.alice.result("list")["ratelimits"][0] for _ in range(3)]
    refused = own.alice.api("list")["error"]

    assert [tank["gas"] for tank in shown] == [2, 1, 0]
    assert all(tank["capacity"] == 3 and 0 < tank["reset"] <= 60 for tank in shown)
    assert refused["data"]["callsRemaining"] == 0
    assert refused["data"]["maxCalls"] == 3
    assert 0 < refused["data"]["windowReset"] <= 60


def test_section_1_4_all_devices_of_a_user_share_a_tank_and_other_users_do_not(
    own: Simulator,
) -> None:
    own.admin.order("rate-limit", "alice", 1, 60)
    own.alice.result("list")

    assert "data" in own.phone.api("list")["error"]
    assert "result" in own.bob.api("list")

    own.admin.order("rate-limit", "alice", "off")
    assert "result" in own.phone.api("list")


def test_section_1_4_a_tank_is_full_again_after_its_window() -> None:
    tank = Tank()
    tank.limit(2, 10.0)

    taken = [tank.take(now) for now in (100.0, 101.0, 109.9, 110.0, 110.0, 110.0)]

    assert taken == [True, True, False, True, True, False]


def test_section_9_a_listener_may_be_alive_and_deaf(own: Simulator) -> None:
    own.alice.send("deaf", "hello")
    listener, other = own.alice.listen(), own.phone.listen()
    own.bob.send("deaf", "join")
    assert listener.event()["msg"]["content"]["type"] == "join"
    assert listener.bodies(1) == ["join"]

    own.admin.set("alice/laptop", "deaf", True)
    own.bob.send("deaf", "unheard")
    own.admin.set("alice/laptop", "deaf", False)
    own.bob.send("deaf", "heard")

    assert listener.bodies(1) == ["heard"]
    assert other.event()["msg"]["content"]["type"] == "join"
    assert other.bodies(3) == ["join", "unheard", "heard"]


def test_section_3_pushes_go_wrong_at_random_the_same_way_for_the_same_seed() -> None:
    def draw(seed: int) -> list[list[float]]:
        disorder = Disorder(drop=0.3, duplicate=0.3, delay=2.0, rng=Random(seed))
        return [disorder.deliveries() for _ in range(500)]

    drawn = draw(7)

    assert drawn == draw(7) != draw(8)
    assert {len(push) for push in drawn} == {0, 1, 2}
    assert 100 < sum(not push for push in drawn) < 200
    assert all(0.0 <= delay <= 2.0 for push in drawn for delay in push)


def test_section_3_under_disorder_some_pushes_are_lost_and_reads_show_all(own: Simulator) -> None:
    own.alice.send("disorder", "hello")
    listener = own.alice.listen("--filter-channel", json.dumps(channel("disorder")))
    own.admin.order("disorder", 0.5, 0.2, 0.05)

    posted = [f"{number}" for number in range(40)]
    for body in posted:
        own.admin.post(TEAM, "disorder", "bob/server", body)
    own.admin.order("disorder", "off")
    own.admin.post(TEAM, "disorder", "bob/server", "end")

    heard: list[str] = []
    while "end" not in heard:
        heard += listener.bodies(1)
    assert 0 < len(set(heard)) < 41
    assert own.alice.texts("disorder") == ["end", *reversed(posted), "hello"]


def test_section_4_a_percent_sign_anywhere_makes_the_status_no_json(own: Simulator) -> None:
    own.admin.set("alice/laptop", "mangled", True)

    printed = own.alice.run("status", "--json")

    assert printed.code == 0
    assert "done by 100%!" in printed.out
    assert json.loads(own.alice.run("whoami", "--json").out)["deviceName"] == "laptop"


def test_section_1_3_lists_may_be_null(own: Simulator) -> None:
    own.alice.send("nulls", "hello")
    own.admin.set("alice/laptop", "nulls", True)

    assert own.alice.read("nulls")["messages"] is None
    assert own.alice.result("getdeviceinfo", username="bob")["devices"] is None
    members = own.alice.result("list-team-memberships", api="team", team=TEAM)["members"]
    assert set(members.values()) == {None}


def test_section_5_two_writers_at_once_leave_a_conflict_copy_on_order(own: Simulator) -> None:
    own.admin.write_file(PEERS, "[]")

    copy = own.admin.order("file-conflict", PEERS, "bob/server", "[1]")

    names = own.alice.run("fs", "ls", "-1", "--nocolor", f"/keybase/team/{TEAM}").out.splitlines()
    assert names == sorted(["peers.json", copy.rpartition("/")[2]])
    assert "peers.conflicted (bob's server copy " in copy
    assert own.alice.run("fs", "read", copy).out == "[1]"


def test_section_5_kbfs_may_take_its_time(own: Simulator) -> None:
    own.admin.write_file(PEERS, "[]")
    own.admin.set("alice/laptop", "kbfs_delay", 0.4)

    reading = own.alice.start("fs", "read", PEERS)

    assert reading.outlives(0.35)
    assert reading.end().out == "[]"


def test_section_1_3_a_gap_is_dropped_from_reads_and_paging_goes_on_behind_it(
    own: Simulator,
) -> None:
    for number in range(6):
        own.admin.post(TEAM, "gaps", "bob/server", f"{number}")  # ids from 3 on
    own.admin.order("gap", TEAM, "gaps", 5, 6)

    pages: list[list[int]] = []
    cursor: dict[str, Any] = {}
    while "last" not in cursor:
        wanted = {"num": 2} | ({"next": cursor["next"]} if cursor else {})
        page = own.alice.read("gaps", pagination=wanted)
        cursor = page["pagination"]
        pages.append([entry["msg"]["id"] for entry in page["messages"]])
        assert cursor["num"] == 2, "what was fetched, shown or not"

    assert pages == [[8, 7], [], [4, 3], [2, 1]]


def test_section_2_a_retention_policy_removes_what_is_older(own: Simulator) -> None:
    own.admin.post(TEAM, "policy", "bob/server", "old", sent_at_ms=5_000)
    own.admin.post(TEAM, "policy", "bob/server", "new")
    own.admin.order("retention", TEAM, "policy", 3600)

    assert own.alice.texts("policy") == ["new"]

    own.admin.order("retention", TEAM, "policy", "off")
    assert own.alice.texts("policy") == ["new", "old"]


def test_section_2_deleted_history_leaves_one_message_that_tells(own: Simulator) -> None:
    own.alice.send("history", "one")
    own.alice.send("history", "two")

    number = own.admin.order("delete-history", TEAM, "history", "alice/laptop", 5)

    shown = own.alice.read("history")["messages"]
    assert [entry["msg"]["content"] for entry in shown] == [
        {"type": "deletehistory", "deletehistory": {"upto": 5}}
    ]
    assert shown[0]["msg"]["id"] == number == 5


def test_section_1_3_an_inconsistency_fails_a_whole_read(own: Simulator) -> None:
    own.alice.send("broken", "hello")
    text = "CHAT CONSISTENCY ERROR: message 3 has a prev pointer that is not lower"
    own.admin.order("break-reads", TEAM, "broken", text)

    assert own.alice.error("read", channel=channel("broken")) == text

    own.admin.order("break-reads", TEAM, "broken")
    assert own.alice.texts("broken") == ["hello"]


def test_section_6_a_reset_user_has_no_device_left(own: Simulator) -> None:
    own.admin.reset_user("bob")

    assert own.alice.result("getdeviceinfo", username="bob")["devices"] is None
    assert own.bob.run("whoami").code == 2
