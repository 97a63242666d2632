"""Conversations through `chat api`: reading, paging, posting, joining (§1.2, §1.3, §1.5, §2)."""

import base64

import pytest

from .support import TEAM, Simulator, channel


def test_section_1_3_a_first_message_creates_the_channel_and_joins_it(keybase: Simulator) -> None:
    sent = keybase.alice.send("created", "hello")

    shown = keybase.alice.read("created")["messages"]
    assert (list(sent), sent["id"]) == (["message", "id", "ratelimits"], 3)
    assert [(entry["msg"]["id"], entry["msg"]["content"]["type"]) for entry in shown] == [
        (3, "text"),
        (2, "join"),
        (1, "metadata"),
    ]
    assert shown[2]["msg"]["content"]["metadata"] == {"conversationTitle": "created"}


def test_section_1_3_another_user_joins_by_sending_and_ids_count_every_message(
    keybase: Simulator,
) -> None:
    keybase.alice.send("joining", "one")

    assert keybase.bob.send("joining", "two")["id"] == 5
    assert keybase.bob.send("joining", "three")["id"] == 6


def test_section_1_3_readers_may_post(keybase: Simulator) -> None:
    keybase.carol.send("readers", "hello")

    assert keybase.alice.texts("readers") == ["hello"]


def test_section_1_3_a_channel_may_ask_for_a_least_role_to_post(own: Simulator) -> None:
    own.alice.send("minutes", "hello")
    own.admin.order("least-role", TEAM, "minutes", "writer")

    refused = own.carol.error("send", channel=channel("minutes"), message={"body": "hi"})
    own.bob.send("minutes", "good morning")

    assert refused == "You must be at least writer to post"
    assert own.carol.texts("minutes") == ["good morning", "hello"], "reading is another matter"
    own.admin.order("least-role", TEAM, "minutes", "off")
    own.carol.send("minutes", "hi")


def test_section_2_a_message_summary_has_its_fields_in_order(keybase: Simulator) -> None:
    keybase.bob.send("summary", "hello")

    answer = keybase.alice.read("summary")
    message = answer["messages"][0]["msg"]

    assert list(answer) == ["messages", "pagination", "ratelimits"]
    assert list(message) == [
        "id", "conversation_id", "channel", "sender", "sent_at", "sent_at_ms", "content", "prev",
        "unread", "channel_mention",
    ]  # fmt: skip
    assert list(message["sender"]) == ["uid", "username", "device_id", "device_name"]
    assert (message["sender"]["username"], message["sender"]["device_name"]) == ("bob", "server")
    assert message["channel"] == channel("summary", topic_type="chat")
    assert message["content"]["text"] == {
        "body": "hello", "payments": None, "userMentions": None, "teamMentions": None,
        "emojis": None,
    }  # fmt: skip
    assert message["prev"][0]["id"] == 2
    assert answer["messages"][2]["msg"]["prev"] == []
    assert len(message["conversation_id"]) == 64
    assert message["sent_at"] == message["sent_at_ms"] // 1000


def test_section_1_3_paging_by_next_walks_the_whole_thread(keybase: Simulator) -> None:
    for number in range(7):
        keybase.alice.send("paging", str(number))

    seen, cursor, pages = [], "", []
    while True:
        pagination = {"num": 4} | ({"next": cursor} if cursor else {})
        answer = keybase.bob.read("paging", pagination=pagination)
        page = answer["pagination"]
        pages.append((page["num"], page.get("last", False)))
        seen += [entry["msg"]["id"] for entry in answer["messages"]]
        if page.get("last"):
            break
        cursor = page["next"]

    assert seen == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert pages == [(4, False), (4, False), (1, True)]


def test_section_1_3_a_cursor_is_base64_of_msgpack_of_an_id(keybase: Simulator) -> None:
    for number in range(3):
        keybase.alice.send("cursor", str(number))

    page = keybase.alice.read("cursor", pagination={"num": 2})["pagination"]
    older = keybase.alice.read("cursor", pagination={"num": 9, "next": "BA=="})
    newer = keybase.alice.read("cursor", pagination={"num": 1, "previous": "Aw=="})

    assert page == {"next": "BA==", "previous": "BQ==", "num": 2}
    assert [entry["msg"]["id"] for entry in older["messages"]] == [3, 2, 1]
    assert [entry["msg"]["id"] for entry in newer["messages"]] == [4]


@pytest.mark.parametrize("count", [469])
def test_section_1_3_ids_above_127_take_more_bytes(own: Simulator, count: int) -> None:
    for number in range(count):
        own.admin.post(TEAM, "long", "alice/laptop", str(number))

    page = own.alice.read("long", pagination={"num": 3})["pagination"]

    assert page["next"] == base64.b64encode(b"\xcd\x01\xd5").decode() == "zQHV"


def test_section_1_3_without_pagination_a_read_ends_at_a_thousand(own: Simulator) -> None:
    for number in range(1010):
        own.admin.post(TEAM, "thousand", "alice/laptop", str(number))

    answer = own.alice.read("thousand")

    assert len(answer["messages"]) == 1000
    assert (answer["messages"][0]["msg"]["id"], "last" in answer["pagination"]) == (1012, False)


def test_section_1_3_pagination_without_a_number_collects_nothing(keybase: Simulator) -> None:
    keybase.alice.send("zero", "hello")

    assert keybase.alice.read("zero", pagination={})["messages"] == []


def test_section_1_3_reading_marks_read_on_all_devices_of_the_user_and_peeking_does_not(
    keybase: Simulator,
) -> None:
    keybase.bob.send("pointer", "hello")

    def unread() -> list[bool]:
        shown = keybase.phone.read("pointer")["messages"]
        return [entry["msg"]["unread"] for entry in shown if entry["msg"]["id"] == 3]

    before, peeked = unread(), unread()
    keybase.alice.read("pointer", peek=False)

    assert (before, peeked, unread()) == ([True], [True], [False])


def test_section_1_3_unread_only_drops_messages_of_the_same_user(keybase: Simulator) -> None:
    keybase.phone.send("own", "from my phone")
    keybase.bob.send("own", "from bob")

    assert keybase.alice.texts("own", unread_only=True) == ["from bob"]


def test_section_1_3_mark_moves_the_read_pointer(keybase: Simulator) -> None:
    keybase.bob.send("mark", "hello")

    keybase.alice.result("mark", channel=channel("mark"), message_id=3)

    assert keybase.alice.texts("mark", unread_only=True) == []


def test_section_2_an_edit_shows_under_the_old_id_with_the_editing_devices_name(
    keybase: Simulator,
) -> None:
    keybase.alice.send("edit", "before")

    edited = keybase.phone.result(
        "edit", channel=channel("edit"), message_id=3, message={"body": "after"}
    )

    edit, text = [entry["msg"] for entry in keybase.bob.read("edit")["messages"][:2]]
    assert (edited["message"], edited["id"]) == ("message edited", 4)
    assert (edit["content"]["type"], edit["content"]["edit"]["messageID"]) == ("edit", 3)
    assert (text["id"], text["content"]["text"]["body"]) == (3, "after")
    laptop = keybase.bob.result("getdeviceinfo", username="alice")["devices"][0]["id"]
    assert (text["sender"]["device_id"], text["sender"]["device_name"]) == (laptop, "phone")


def test_section_1_3_a_deleted_message_is_dropped_and_leaves_a_gap(keybase: Simulator) -> None:
    keybase.alice.send("delete", "one")
    keybase.alice.send("delete", "two")

    answer = keybase.alice.result("delete", channel=channel("delete"), message_id=3)

    shown = [entry["msg"] for entry in keybase.bob.read("delete")["messages"]]
    assert (answer["message"], answer["id"]) == ("message deleted", 5)
    assert [message["id"] for message in shown] == [5, 4, 2, 1]
    assert shown[0]["content"] == {"type": "delete", "delete": {"messageIDs": [3]}}


def test_section_1_3_get_returns_messages_by_id_without_pagination(keybase: Simulator) -> None:
    keybase.alice.send("get", "one")

    answer = keybase.alice.result("get", channel=channel("get"), message_ids=[3, 99])

    assert [entry["msg"]["id"] for entry in answer["messages"]] == [3]
    assert "pagination" not in answer


def test_section_1_3_list_shows_the_channels_that_the_user_is_in(own: Simulator) -> None:
    assert own.alice.result("list")["conversations"] is None
    own.alice.send("one", "hello")
    own.bob.send("two", "hello")

    [shown] = own.alice.result("list")["conversations"]

    assert list(shown) == [
        "id", "channel", "is_default_conv", "unread", "active_at", "active_at_ms", "member_status",
        "creator_info",
    ]  # fmt: skip
    assert (shown["channel"]["topic_name"], shown["member_status"]) == ("one", "active")
    assert shown["creator_info"]["username"] == "alice"


def test_section_1_3_listconvsonname_shows_channels_never_joined_and_left(own: Simulator) -> None:
    own.alice.send("mine", "hello")
    own.bob.send("his", "hello")
    own.alice.send("gone", "hello")
    own.alice.result("leave", channel=channel("gone"))

    shown = own.alice.result("listconvsonname", name=TEAM, members_type="team")["conversations"]

    assert {one["channel"]["topic_name"]: one["member_status"] for one in shown} == {
        "mine": "active",
        "his": "never_joined",
        "gone": "left",
    }


def test_section_1_3_joining_twice_posts_one_message_and_leaving_another(
    keybase: Simulator,
) -> None:
    keybase.alice.send("twice", "hello")

    for method in ("join", "join", "leave", "leave"):
        assert list(keybase.bob.result(method, channel=channel("twice"))) == ["ratelimits"]

    shown = keybase.alice.read("twice")["messages"]
    assert [entry["msg"]["content"]["type"] for entry in shown] == [
        "leave", "join", "text", "join", "metadata",
    ]  # fmt: skip


def test_section_1_3_newconv_returns_the_channel_that_is_there(keybase: Simulator) -> None:
    first = keybase.alice.result("newconv", channel=channel("newconv"))

    assert keybase.bob.result("newconv", channel=channel("newconv"))["id"] == first["id"]
    assert keybase.bob.result("read", conversation_id=first["id"], peek=True)["messages"] != []


def test_section_1_3_listmembers_tells_who_is_in_the_channel_by_role(keybase: Simulator) -> None:
    keybase.alice.send("members", "hello")
    keybase.carol.send("members", "hello")

    members = keybase.bob.result("listmembers", channel=channel("members"))

    names = {
        role: [m["username"] for m in ms] for role, ms in members.items() if role != "ratelimits"
    }
    assert names == {
        "owners": ["alice"], "admins": [], "writers": [], "readers": ["carol"], "bots": [],
        "restrictedBots": [],
    }  # fmt: skip


def test_section_1_3_a_channel_that_is_not_there_is_named_by_its_team(keybase: Simulator) -> None:
    text = f'no conversations matched "{TEAM}"'

    assert keybase.alice.error("read", channel=channel("nowhere")) == text
    assert keybase.alice.error("join", channel=channel("nowhere")) == text


def test_section_1_2_without_members_type_a_name_is_no_team(keybase: Simulator) -> None:
    keybase.alice.send("kind", "hello")
    wanted = {"name": TEAM, "topic_name": "kind"}

    assert keybase.alice.error("read", channel=wanted) == f'no conversations matched "{TEAM}"'


def test_section_1_3_strangers_and_unknown_teams_are_refused(keybase: Simulator) -> None:
    keybase.alice.send("private", "hello")

    unknown = {"name": "nobody", "members_type": "team"}
    assert keybase.mallory.error("read", channel=channel("private")).startswith("user is not in")
    assert keybase.alice.error("read", channel=unknown) == 'Team "nobody" does not exist'


def test_section_8_a_text_may_have_ten_thousand_bytes_and_a_dev_text_a_million(
    keybase: Simulator,
) -> None:
    dev = channel("size", topic_type="dev")

    assert (
        keybase.alice.error("send", channel=channel("size"), message={"body": "ü" * 5001})
        == "message of size 10002 bytes exceeds the maximum length of 10000 bytes"
    )
    keybase.alice.send("size", "ü" * 5000)
    keybase.alice.result("send", channel=dev, message={"body": "x" * 1_000_000})
    body = keybase.bob.result("read", channel=dev)["messages"][0]["msg"]["content"]["text"]["body"]
    assert len(body) == 1_000_000


def test_section_1_5_dev_channels_are_listed_apart(own: Simulator) -> None:
    own.alice.send("apart", "chat")
    own.alice.result("send", channel=channel("apart", topic_type="DEV"), message={"body": "dev"})

    [shown] = own.alice.result("list", topic_type="dev")["conversations"]

    assert shown["channel"]["topic_type"] == "dev"
    assert len(own.alice.result("list")["conversations"]) == 1


def test_section_1_3_a_nonblocking_send_has_no_id(keybase: Simulator) -> None:
    answer = keybase.alice.send("nonblock", "hello", nonblock=True)

    assert list(answer) == ["message", "outbox_id", "ratelimits"]
    assert keybase.bob.texts("nonblock") == ["hello"]


def test_section_1_3_a_slash_command_is_not_posted(keybase: Simulator) -> None:
    keybase.alice.send("slash", "hello")

    assert keybase.alice.send("slash", "/mute")["id"] == 0
    assert keybase.alice.texts("slash") == ["hello"]


@pytest.mark.parametrize("body", [" ", "\n", "/", "\x00"])
def test_odd_bodies_are_posted_as_they_are(keybase: Simulator, body: str) -> None:
    keybase.alice.send("odd", body)

    assert keybase.alice.texts("odd")[0] == body


@pytest.mark.parametrize("cursor", ["ü", "!", "AA", "zQ==", "/////w=="])
def test_a_cursor_that_is_none_is_refused_and_the_pipe_lives(
    keybase: Simulator, cursor: str
) -> None:
    keybase.alice.send("refused", "x")

    pagination = {"num": 1, "next": cursor}
    assert keybase.alice.error("read", channel=channel("refused"), pagination=pagination)


def test_section_2_a_retention_policy_makes_texts_explode_but_not_in_dev(own: Simulator) -> None:
    own.alice.send("policy", "stays")
    own.admin.order("ephemeral-policy", TEAM, "policy", "on")
    own.alice.send("policy", "explodes")

    shown = own.bob.read("policy")["messages"]

    assert [entry["msg"].get("is_ephemeral", False) for entry in shown[:2]] == [True, False]
    assert shown[0]["msg"]["e_time"] > shown[0]["msg"]["sent_at_ms"]
    assert shown[0]["msg"]["has_pairwise_macs"] is True


def test_section_1_3_an_exploding_lifetime_is_kept(keybase: Simulator) -> None:
    keybase.alice.send("exploding", "hello", exploding_lifetime="30m")

    message = keybase.bob.read("exploding")["messages"][0]["msg"]

    assert message["e_time"] - message["sent_at_ms"] == 1_800_000
