"""The JSON APIs as streams of requests: decoding, sticky fields, the poisoned pipe (§1.1)."""

import json
from pathlib import Path
from typing import Any

import pytest

from .support import TEAM, Simulator, channel


def replies(keybase: Simulator, stdin: str, *argv: str) -> list[Any]:
    done = keybase.alice.run("chat", "api", *argv, stdin=stdin)
    assert done.code == 0, "errors of the API are answers, not failures"
    return [json.loads(line) for line in done.out.splitlines()]


def messages(keybase: Simulator, stdin: str) -> list[str]:
    return [reply["error"]["message"] for reply in replies(keybase, stdin)]


def test_section_1_1_a_request_needs_no_newline_to_be_answered(keybase: Simulator) -> None:
    pipe = keybase.alice.start("chat", "api")

    pipe.write('{"id":1,"method":"xx')
    pipe.write('x"}')

    assert json.loads(pipe.line())["id"] == 1
    assert pipe.end().code == 0


def test_section_1_1_replies_come_in_order_one_a_line(keybase: Simulator) -> None:
    stream = "".join(json.dumps({"id": n, "method": "list"}) for n in range(1, 6))

    assert [reply["id"] for reply in replies(keybase, stream)] == [1, 2, 3, 4, 5]


def test_section_1_1_a_reply_names_jsonrpc_and_id_first_and_only_if_they_are_set(
    keybase: Simulator,
) -> None:
    stdin = '{"method":"xxx"}{"jsonrpc":"2.0","id":7,"method":"xxx"}'

    assert [list(reply) for reply in replies(keybase, stdin)] == [
        ["error"],
        ["jsonrpc", "id", "error"],
    ]


def test_section_1_1_options_of_the_request_before_are_inherited(keybase: Simulator) -> None:
    asked = {"method": "newconv", "params": {"options": {"channel": channel("sticky")}}}

    first, second = replies(keybase, json.dumps(asked) + '{"method":"read"}')

    assert len(first["result"]["id"]) == 64
    assert [entry["msg"]["content"]["type"] for entry in second["result"]["messages"]] == [
        "join",
        "metadata",
    ]


def test_section_1_1_null_options_are_options_but_absent_ones_are_not(keybase: Simulator) -> None:
    absent, null = messages(keybase, '{"method":"read"}{"method":"read","params":{"options":null}}')

    assert absent == "invalid read v1 options: empty options"
    assert null == "invalid read v1 options: need channel or conversation_id"


def test_section_1_1_keys_match_without_regard_to_case(keybase: Simulator) -> None:
    asked = {
        "ID": 3,
        "Method": "send",
        "Params": {"Options": {"Channel": channel("case"), "Message": {"Body": "hello"}}},
    }

    assert replies(keybase, json.dumps(asked))[0]["result"]["message"] == "message sent"
    assert keybase.alice.texts("case") == ["hello"]


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ('{"id":"x"}', "json: cannot unmarshal string into Go struct field Call.ID of type int"),
        ('{"id":1e3}', "json: cannot unmarshal number 1e3 into Go struct field Call.ID of type int"),
        ('{"method":5}', "json: cannot unmarshal number into Go struct field Call.Method of type string"),
        ('{"params":[]}', "json: cannot unmarshal array into Go struct field Call.Params of type client.Params"),
        ("[]", "json: cannot unmarshal array into Go value of type client.Call"),
        ("7 ", "json: cannot unmarshal number into Go value of type client.Call"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ("[1 2]", "invalid character '2' after array element"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ('{"a":tru1}', "invalid character '1' in literal true (expecting 'e')"),
        ('{"a":"\\x"}', "invalid character 'x' in string escape code"),
        ('{"a":"b\nc"}', "invalid character '\\n' in string literal"),
        ('{"a":-x}', "invalid character 'x' in numeric literal"),
        ('{"a":1.x}', "invalid character 'x' after decimal point in numeric literal"),
        ('{"id":1', "invalid JSON: expected more JSON in input"),
        ("NaN", "invalid character 'N' looking for beginning of value"),
    ],
)  # fmt: skip
def test_section_1_1_what_cannot_be_decoded_is_answered_once_and_ends_the_process(
    keybase: Simulator, request_text: str, expected: str
) -> None:
    assert messages(keybase, request_text + '{"method":"xxx"}' * ("expected" not in expected)) == [
        expected
    ]


def test_section_1_1_a_field_that_fits_is_taken_over_beside_one_that_does_not(
    keybase: Simulator,
) -> None:
    [reply] = replies(keybase, '{"method":1,"id":5}')

    assert reply["id"] == 5


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"peek": 1}, "number into Go struct field readOptionsV1.Peek of type bool"),
        ({"channel": {"name": 5}}, "number into Go struct field ChatChannel.Channel.name of type string"),
        ({"channel": "a"}, "string into Go struct field readOptionsV1.Channel of type client.ChatChannel"),
        ({"pagination": {"num": "1"}}, "string into Go struct field Pagination.pagination.num of type int"),
    ],
)  # fmt: skip
def test_section_1_1_options_of_the_wrong_type_leave_the_process_alive(
    keybase: Simulator, options: dict[str, Any], expected: str
) -> None:
    asked = json.dumps({"method": "read", "params": {"options": options}})

    assert messages(keybase, asked + '{"method":"xxx"}') == [
        f"json: cannot unmarshal {expected}",
        'invalid v1 method "xxx"',
    ]


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("get", None, "invalid read v1 options: empty options"),
        ("getdeviceinfo", {}, "username required"),
        ("listconvsonname", {}, "name required"),
        ("listconvsonname", {"name": "a", "topic_type": "zz"}, "invalid list v1 options: invalid topic type: 'zz'"),
        ("edit", {"channel": {"name": "a"}, "message_id": 1}, "invalid edit v1 options: invalid message, body cannot be empty"),
        ("delete", {"channel": {"name": "a"}}, "invalid delete v1 options: invalid message id '0'"),
        ("send", {"conversation_id": "zz", "message": {"body": "x"}}, "invalid conv ID: zz"),
        ("send", {"channel": {"name": "a"}, "message": {"body": "x"}, "exploding_lifetime": "169h"}, "invalid send v1 options: invalid ephemeral lifetime: 169h0m0s, must be between 168h0m0s and 30s"),
        ("send", {"channel": {"name": "a"}, "exploding_lifetime": "5"}, 'time: missing unit in duration "5"'),
        ("read", {"channel": {"name": TEAM, "members_type": "TEAM"}}, "invalid read v1 options: need channel or conversation_id"),
    ],
)  # fmt: skip
def test_section_1_3_options_are_checked_by_the_client(
    keybase: Simulator, method: str, options: dict[str, Any] | None, expected: str
) -> None:
    params = {} if options is None else {"options": options}

    assert messages(keybase, json.dumps({"method": method, "params": params})) == [expected]


def test_section_1_1_input_and_output_may_be_files(keybase: Simulator, tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"id":4,"method":"list"}')

    done = keybase.alice.run("chat", "api", "-i", f"{tmp_path}/in", "-o", f"{tmp_path}/out")

    assert (done.code, done.out) == (0, "")
    assert json.loads((tmp_path / "out").read_text())["id"] == 4


def test_section_1_1_pretty_indents_results_by_four(keybase: Simulator) -> None:
    done = keybase.alice.run("chat", "api", "-p", "-m", '{"id":4,"method":"list"}')

    assert done.out.startswith('{\n    "id": 4,\n    "result": {\n        "conversations"')


def test_section_1_1_html_is_escaped_as_go_does_and_text_survives(keybase: Simulator) -> None:
    body = '<a> & "b" ü 世 \u2028 \x7f'
    keybase.alice.send("escapes", body)

    request = {"method": "read", "params": {"options": {"channel": channel("escapes")}}}
    out = keybase.alice.run("chat", "api", stdin=json.dumps(request)).out

    assert r"\u003ca\u003e \u0026 \"b\" ü 世 \u2028" in out
    assert json.loads(out)["result"]["messages"][0]["msg"]["content"]["text"]["body"] == body


def test_section_1_1_half_a_surrogate_pair_becomes_the_replacement_character(
    keybase: Simulator,
) -> None:
    asked = {"channel": channel("surrogate"), "message": {"body": "BODY"}}
    text = json.dumps({"method": "send", "params": {"options": asked}})

    replies(keybase, text.replace("BODY", r"a\ud800b \ud83d\ude39"))

    assert keybase.alice.texts("surrogate") == ["a\ufffdb \U0001f639"]


def test_section_1_1_an_idle_pipe_outlives_a_restart_of_the_service(own: Simulator) -> None:
    pipe = own.alice.start("chat", "api")
    assert "result" in pipe.ask({"id": 1, "method": "list"})

    own.admin.stop_service("alice/laptop", kill=True)
    own.admin.start_service("alice/laptop")

    assert "result" in pipe.ask({"id": 2, "method": "list"})


def test_section_1_1_a_call_during_an_outage_poisons_the_pipe_for_ever(own: Simulator) -> None:
    pipe = own.alice.start("chat", "api")
    pipe.ask({"id": 1, "method": "list"})
    own.admin.stop_service("alice/laptop")
    socket = own.root / "alice/laptop/keybased.sock"
    dead = f"dial unix {socket}: connect: no such file or directory"

    during = pipe.ask({"id": 2, "method": "list"})
    own.admin.start_service("alice/laptop")
    after = pipe.ask({"id": 3, "method": "list"})

    assert [during["error"]["message"], after["error"]["message"]] == [dead, dead]
    assert "result" in own.alice.api("list")
    assert pipe.end().code == 0


def test_section_1_1_a_call_in_flight_when_the_service_goes_fails_and_is_not_repeated(
    own: Simulator,
) -> None:
    own.alice.send("flight", "before")
    pipe = own.alice.start("chat", "api")
    pipe.ask({"id": 1, "method": "list"})
    own.admin.set("alice/laptop", "stalled", True)
    options = {"channel": channel("flight"), "message": {"body": "lost"}}
    pipe.write(json.dumps({"id": 2, "method": "send", "params": {"options": options}}))
    assert pipe.outlives(0.2)

    own.admin.stop_service("alice/laptop")

    assert json.loads(pipe.line())["error"]["message"] == "EOF"
    own.admin.set("alice/laptop", "stalled", False)
    own.admin.start_service("alice/laptop")
    assert own.alice.texts("flight") == ["before"]
    assert "result" in pipe.ask({"id": 3, "method": "list", "params": {"options": {}}})
