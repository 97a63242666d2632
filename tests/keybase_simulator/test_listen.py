"""`chat api-listen`: the banner, what is pushed to whom, the ways it ends (§3)."""

import signal
import time

import pytest

from .support import TEAM, Simulator, channel


def channel_filter(topic: str, **more: str) -> str:
    fields = channel(topic, **more)
    return "{" + ",".join(f'"{name}":"{value}"' for name, value in fields.items()) + "}"


def test_section_3_the_banner_tells_the_configuration_on_stderr(keybase: Simulator) -> None:
    plain = keybase.alice.start("chat", "api-listen")
    full = keybase.alice.start(
        "chat", "api-listen", "--local", "--convs", "--dev", "--hide-exploding"
    )

    assert plain.line("err") == (
        "Listening for chat notifications. Config: {showLocal:false showNewConvs:false "
        "hideExploding:false}, subscribeDevChannels: false"
    )
    assert full.line("err") == (
        "Listening for chat notifications. Config: {showLocal:true showNewConvs:true "
        "hideExploding:true}, subscribeDevChannels: true"
    )


def test_section_3_filters_are_told_before_the_banner(keybase: Simulator) -> None:
    number = keybase.alice.result("newconv", channel=channel("told"))["id"]

    listening = keybase.alice.start(
        "chat", "api-listen", "--filter-channel", channel_filter("told")
    )

    assert listening.line("err") == "Message filtering is active with 1 filters"
    assert listening.line("err") == f"filter 0: {number}"
    assert listening.line("err").startswith("Listening for chat notifications.")


def test_section_3_a_message_is_pushed_in_its_own_form(keybase: Simulator) -> None:
    keybase.alice.send("form", "first")
    listening = keybase.alice.listen("--filter-channel", channel_filter("form"))
    keybase.bob.result("join", channel=channel("form"))

    keybase.bob.send("form", "a < b")

    join, text = listening.event(), listening.event()
    assert join["msg"]["content"] == {"type": "join"}
    assert list(text) == ["type", "source", "msg", "pagination"]
    assert (text["type"], text["source"]) == ("chat", "remote")
    assert (text["msg"]["id"], text["msg"]["content"]["text"]["body"]) == (5, "a < b")
    assert (text["msg"]["prev"], text["msg"]["unread"]) == (None, False)
    assert text["pagination"] == {"next": "05", "previous": "05", "num": 1, "last": False}


def test_section_3_own_messages_show_only_with_local_but_those_of_other_own_devices_always(
    keybase: Simulator,
) -> None:
    keybase.alice.send("local", "before")
    plain = keybase.alice.listen("--filter-channel", channel_filter("local"))
    local = keybase.alice.listen("--local", "--filter-channel", channel_filter("local"))

    keybase.alice.send("local", "from here")
    keybase.phone.send("local", "from the phone")

    assert plain.bodies(1) == ["from the phone"]
    events = [local.event(), local.event()]
    assert [event["source"] for event in events] == ["local", "remote"]


def test_section_3_nothing_is_replayed(keybase: Simulator) -> None:
    keybase.bob.send("replay", "before")
    keybase.alice.result("join", channel=channel("replay"))

    listening = keybase.alice.listen("--filter-channel", channel_filter("replay"))
    keybase.bob.send("replay", "after")

    assert listening.bodies(1) == ["after"]


def test_section_1_5_who_has_not_joined_is_told_nothing(keybase: Simulator) -> None:
    keybase.bob.send("outside", "one")
    listening = keybase.alice.listen("--filter-channel", channel_filter("outside"))

    keybase.bob.send("outside", "two")
    keybase.alice.result("join", channel=channel("outside"))
    keybase.bob.send("outside", "three")

    assert listening.bodies(1) == ["three"]


def test_section_1_5_dev_channels_need_a_flag(keybase: Simulator) -> None:
    dev = channel("kbwg", topic_type="dev")
    for host in (keybase.alice, keybase.bob):
        host.result("send", channel=dev, message={"body": "join"})
        host.send("kbwg", "join")
    plain, wide = keybase.alice.listen(), keybase.alice.listen("--dev")

    keybase.bob.result("send", channel=dev, message={"body": "dev"})
    keybase.bob.send("kbwg", "chat")

    assert plain.bodies(1) == ["chat"]
    assert wide.bodies(2) == ["dev", "chat"]


def test_section_3_a_team_without_topic_filters_all_channels_of_the_moment(
    own: Simulator,
) -> None:
    for topic in ("one", "two"):
        own.alice.send(topic, "hello")
    team = f'[{{"name":"{TEAM}","members_type":"team"}}]'
    listening = own.alice.listen("--filter-channels", team)

    own.phone.send("three", "created later")
    own.phone.send("two", "seen")

    assert listening.bodies(1) == ["seen"]


def test_section_3_exploding_messages_can_be_hidden(keybase: Simulator) -> None:
    keybase.alice.send("hide", "hello")
    wanted = channel_filter("hide")
    listening = keybase.alice.listen("--hide-exploding", "--filter-channel", wanted)

    keybase.phone.send("hide", "exploding", exploding_lifetime="1h")
    keybase.phone.send("hide", "staying")

    assert listening.bodies(1) == ["staying"]


def test_section_3_new_conversations_are_told_if_asked_for(own: Simulator) -> None:
    own.bob.send("bobs", "hello")
    listening = own.alice.listen("--convs", "--dev")

    own.alice.result("join", channel=channel("bobs"))
    joined = listening.event()
    created = own.phone.result("newconv", channel=channel("unlocalized", topic_type="dev"))
    events = [listening.event() for _ in range(3)]

    assert (joined["type"], joined["conv"]["channel"]["topic_name"]) == ("chat_conv", "bobs")
    assert events[2] == {
        "type": "chat_conv",
        "error": f"No conversation info found: {created['id']}",
    }


def test_section_3_an_edit_is_pushed_as_an_edit(keybase: Simulator) -> None:
    keybase.phone.send("edits", "before")
    listening = keybase.alice.listen("--filter-channel", channel_filter("edits"))

    keybase.phone.result("edit", channel=channel("edits"), message_id=3, message={"body": "after"})

    content = listening.event()["msg"]["content"]
    assert (content["type"], content["edit"]["messageID"], content["edit"]["body"]) == (
        "edit",
        3,
        "after",
    )


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--filter-channel", "{bad", "invalid character 'b' looking for beginning of object key string"),
        ("--filter-channel", '{"name":""}', 'Channel filter not valid: {"name":""}'),
        ("--filter-channels", "{}", "json: cannot unmarshal object into Go value of type []client.ChatChannel"),
        ("--filter-channels", "[", "unexpected end of JSON input"),
        ("--subscribe", "x", "flag provided but not defined: -subscribe"),
    ],
)  # fmt: skip
def test_section_3_bad_filters_are_bad_arguments(
    keybase: Simulator, flag: str, value: str, expected: str
) -> None:
    done = keybase.alice.run("chat", "api-listen", flag, value)

    assert (done.code, done.out[:5]) == (2, "NAME:")
    assert done.err == f"Error parsing command line arguments: {expected}\n\n"


def test_section_3_a_filter_for_a_missing_channel_ends_it(keybase: Simulator) -> None:
    done = keybase.alice.run("chat", "api-listen", "--filter-channel", channel_filter("missing"))

    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(f'no conversations matched "{TEAM}"\n')


def test_section_3_a_lost_service_ends_it_within_about_a_second(own: Simulator) -> None:
    listening = own.alice.listen()
    own.admin.stop_service("alice/laptop")
    lost = time.monotonic()

    done = listening.end()

    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("connection to service lost: error during ping: EOF\n")
    assert time.monotonic() - lost < 3


def test_section_3_a_service_that_does_not_answer_a_ping_ends_it(own: Simulator) -> None:
    listening = own.alice.listen()
    own.admin.set("alice/laptop", "stalled", True)

    done = listening.end()

    assert done.code == 2
    assert done.err.endswith("error during ping: context deadline exceeded\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_section_3_a_signal_ends_it_with_status_3(
    keybase: Simulator, number: signal.Signals
) -> None:
    listening = keybase.alice.listen()

    listening.signal(number)

    done = listening.end()
    assert (done.code, done.out) == (3, "")


def test_section_3_logged_out_it_listens_and_says_nothing(own: Simulator) -> None:
    own.alice.send("out", "hello")
    own.admin.set("alice/laptop", "logged_in", False)
    listening = own.alice.listen()

    own.bob.send("out", "unheard")
    own.admin.set("alice/laptop", "logged_in", True)
    own.bob.send("out", "heard")

    assert listening.bodies(1) == ["heard"]


def test_section_3_without_network_it_is_alive_and_silent_and_misses_what_comes(
    own: Simulator,
) -> None:
    own.alice.send("network", "hello")
    listening = own.alice.listen()
    own.bob.result("join", channel=channel("network"))
    assert listening.event()["msg"]["content"]["type"] == "join"

    own.admin.set("alice/laptop", "online", False)
    own.bob.send("network", "missed")
    own.admin.set("alice/laptop", "online", True)
    own.bob.send("network", "heard")

    assert listening.bodies(1) == ["heard"]
    assert own.alice.texts("network") == ["heard", "missed", "hello"]


def test_section_3_pushes_get_lost_doubled_swapped_and_late_on_order(own: Simulator) -> None:
    own.bob.send("faults", "hello")
    own.alice.result("join", channel=channel("faults"))
    listening = own.alice.listen()

    own.admin.events("drop", 1)
    own.bob.send("faults", "dropped")
    own.admin.events("duplicate", 1)
    own.bob.send("faults", "doubled")
    own.admin.events("reorder", 1)
    own.bob.send("faults", "first")
    own.bob.send("faults", "second")
    own.admin.order("hold-events", "on")
    own.bob.send("faults", "held")
    own.admin.order("hold-events", "off")
    own.admin.events("delay", 0.05)
    own.bob.send("faults", "late")

    assert listening.bodies(5) == ["doubled", "doubled", "second", "first", "late"]


def test_section_3_a_removed_member_hears_no_more(own: Simulator) -> None:
    own.alice.send("removed", "hello")
    own.bob.result("join", channel=channel("removed"))
    listening = own.bob.listen()

    own.admin.set_role(TEAM, "bob", "none")
    own.alice.send("removed", "unheard")
    own.admin.set_role(TEAM, "bob", "writer")
    own.alice.send("removed", "heard")

    assert listening.bodies(1) == ["heard"]
