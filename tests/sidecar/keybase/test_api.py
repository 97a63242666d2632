"""Whatever the CLI prints is a value or an error of ours."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import KeybaseError, KeybaseUnavailableError, RateLimitedError, TeamError
from sidecar.identity import NodeId
from sidecar.keybase import api
from sidecar.keybase.models import Channel, Device, TeamRole

MESSAGE: dict[str, Any] = {
    "id": 66,
    "conversation_id": "00",
    "channel": {"name": "acme.vpn"},
    "sender": {
        "uid": "1",
        "username": "Alice",
        "device_id": "ab" * 16,
        "device_name": "Serv 1",
    },
    "sent_at": 1559599057,
    "sent_at_ms": 1559599057477,
    "content": {"type": "text", "text": {"body": "hello", "payments": None}},
    "prev": [],
    "unread": False,
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "result", "error", "messages", "msg", "content", "sender", "members", "data"]
            ),
            inner,
        )
    ),
    max_leaves=10,
)
LINES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())


def test_a_request_says_every_field_that_the_pipe_would_inherit() -> None:
    request = json.loads(api.request(7, "list", {}))

    assert request == {"id": 7, "method": "list", "params": {"version": 1, "options": {}}}


def test_a_channel_is_named_with_its_members_type_in_lower_case() -> None:
    assert api.target(Channel("acme", "announce"))["channel"] == {
        "name": "acme",
        "members_type": "team",
        "topic_type": "chat",
        "topic_name": "announce",
    }


def test_reads_a_text_message() -> None:
    message = api.parse_message(MESSAGE)

    assert message is not None
    assert message.sender == NodeId("alice", "ab" * 16, "Serv 1")
    assert (message.id, message.text, message.sent_at) == (66, "hello", 1559599057.477)


@pytest.mark.parametrize("missing", ["username", "device_name", "device_id"])
def test_a_sender_that_is_not_fully_named_is_nobody(missing: str) -> None:
    sender = {k: v for k, v in MESSAGE["sender"].items() if k != missing}

    message = api.parse_message({**MESSAGE, "sender": sender})

    assert message is not None
    assert message.sender is None


def test_reads_what_a_message_edits_or_deletes() -> None:
    edit = api.parse_message(
        {**MESSAGE, "content": {"type": "edit", "edit": {"messageID": 5, "body": "x"}}}
    )
    delete = api.parse_message(
        {**MESSAGE, "content": {"type": "delete", "delete": {"messageIDs": [4, 5]}}}
    )

    assert edit is not None
    assert (edit.edits, edit.text) == (5, None)
    assert delete is not None
    assert delete.deletes == (4, 5)


def test_a_page_counts_entries_that_cannot_be_read() -> None:
    page = api.parse_page(
        {
            "messages": [{"error": "gone"}, {"msg": MESSAGE}, {"msg": {}}],
            "pagination": {"next": "AQ==", "num": 3},
        }
    )

    assert ([m.id for m in page.messages], page.next, page.unreadable) == ([66], "AQ==", 2)


@pytest.mark.parametrize(
    ("cursor", "oldest"),
    [
        ("AQ==", 1),
        ("zMg=", 200),
        ("zQHV", 469),
        ("zgABhqA=", 100_000),
        ("", None),
        ("no base64", None),
        ("zQE=", None),
        ("kA==", None),
        ("gICA", None),
    ],
)
def test_a_cursor_tells_how_far_keybase_has_looked(cursor: str, oldest: int | None) -> None:
    page = api.parse_page({"messages": [], "pagination": {"next": cursor, "num": 300}})

    assert (page.messages, page.fetched, page.oldest) == ((), 300, oldest)


def test_the_last_page_has_no_next() -> None:
    page = api.parse_page({"messages": [], "pagination": {"next": "AQ==", "last": True}})

    assert page.next is None


@pytest.mark.parametrize(
    "text",
    [
        "dial unix /run/keybased.sock: connect: no such file or directory",
        "dial unix /run/keybased.sock: connect: connection refused",
        "EOF",
        "operation failed: no connection to chat server",
        "API network error: doRetry failed, attempts: 3, timeout 13.5s (error 1601)",
    ],
)
def test_errors_of_service_and_network_mean_try_again(text: str) -> None:
    line = json.dumps({"id": 1, "error": {"code": 0, "message": text}}).encode()

    with pytest.raises(KeybaseUnavailableError):
        api.parse_reply(line, 1)


def test_too_many_calls_say_when_to_come_back() -> None:
    data = {"name": "chat", "callsRemaining": 0, "windowReset": 17, "maxCalls": 900}
    line = json.dumps({"id": 1, "error": {"code": 0, "message": "slow", "data": data}}).encode()

    with pytest.raises(RateLimitedError) as caught:
        api.parse_reply(line, 1)

    assert caught.value.reset == 17


def test_an_answer_to_another_request_breaks_the_pipe() -> None:
    with pytest.raises(KeybaseUnavailableError):
        api.parse_reply(b'{"id":1,"result":{}}', 2)


def test_only_active_members_count() -> None:
    def member(name: str, status: int) -> dict[str, Any]:
        return {"username": name, "status": status}

    result = {
        "members": {
            "owners": [member("Alice", 0)],
            "writers": [member("bob", 1), member("carol", 2)],
            "readers": None,
        }
    }

    assert api.parse_membership("acme", result).roles == {"alice": TeamRole.OWNER}


def test_a_teams_id_is_found_by_its_whole_name() -> None:
    teams = [
        {"fq_name": "acme", "team_id": "a" * 30 + "24"},
        {"fq_name": "acme.vpn", "team_id": "b" * 30 + "25"},
    ]

    assert api.parse_team_id("acme.vpn", {"teams": teams}) == "b" * 30 + "25"


@pytest.mark.parametrize(
    "teams", [None, [], ["acme"], [{"fq_name": "acme"}], [{"fq_name": "acme", "team_id": "../x"}]]
)
def test_a_team_without_an_id_that_makes_sense_is_an_error(teams: object) -> None:
    with pytest.raises(KeybaseError):
        api.parse_team_id("acme", {"teams": teams})


def test_an_answer_without_members_is_an_error() -> None:
    with pytest.raises(KeybaseError):
        api.parse_membership("acme", {"members": {}})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('Team "acme" does not exist', TeamError),
        ("user is not in team: acme", TeamError),
        ("something else", KeybaseError),
    ],
)
def test_a_team_that_is_not_ours_is_said_so(text: str, kind: type[Exception]) -> None:
    assert isinstance(api.team_error(KeybaseError(text), "acme"), kind)


def test_reads_the_device_that_is_logged_in() -> None:
    status = {
        "Username": "Alice",
        "LoggedIn": True,
        "Device": {"name": "laptop", "deviceID": "ab" * 16, "type": "desktop"},
    }

    assert api.parse_device(json.dumps(status).encode()) == Device("alice", "ab" * 16, "laptop")
    assert api.parse_device(b'{"LoggedIn":false,"Device":null}') is None


@given(LINES)
def test_any_output_is_a_value_or_an_error(line: bytes) -> None:
    parsers = (
        lambda: api.parse_reply(line, 1),
        lambda: api.parse_device(line),
        lambda: api.parse_whoami(line),
        lambda: api.parse_event(line),
    )
    for parse in parsers:
        try:
            parse()
        except KeybaseError:
            pass


@given(st.dictionaries(st.sampled_from(["messages", "pagination", "members", "devices"]), JSON))
def test_any_result_is_a_value_or_an_error(result: dict[str, Any]) -> None:
    api.parse_page(result)
    api.parse_device_ids(result)
    try:
        api.parse_membership("acme", result)
    except KeybaseError:
        pass


@given(JSON)
def test_any_message_is_read_or_left_out(value: object) -> None:
    api.parse_message(value)


def test_a_number_that_keybase_cannot_mean_makes_no_message() -> None:
    for field in ("id", "sent_at_ms"):
        summary = {"id": 1, "sent_at_ms": 1, "content": {"type": "text", "text": {"body": ""}}}

        assert api.parse_message(summary) is not None
        assert api.parse_message(summary | {field: 10**400}) is None
