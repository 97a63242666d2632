"""How go-keybase-chat-bot calls the CLI, call by call (its kbchat/kbchat.go and kbchat/chat.go).

The library needs a Go toolchain and a module that the labs cannot always fetch, so its calls are
made here as it makes them: argument by argument, key by key, on one pipe that is written without
newlines. The predecessor is built on it.
"""

import json
from typing import Any

from .support import TEAM, Simulator, channel


def go_channel(topic: str) -> dict[str, Any]:
    """Marshal chat1.ChatChannel: all but the name are left out when empty."""
    return {"name": TEAM, "members_type": "team", "topic_name": topic}


def send(topic: str, body: str) -> dict[str, Any]:
    """Marshal sendMessageArg: fields without a tag have Go's own names."""
    return {
        "Method": "send",
        "Params": {
            "Options": {
                "channel": go_channel(topic),
                "Message": {"Body": body},
                "confirm_lumen_send": False,
            }
        },
    }


def test_kbchat_go_finds_out_who_is_logged_in(keybase: Simulator) -> None:
    # getUsername: `whoami -json`, in older versions the first line of `status`, of two words.
    assert json.loads(keybase.alice.run("whoami", "-json").out)["user"]["username"] == "alice"
    assert keybase.alice.run("status").out.splitlines()[0].split() == ["Username:", "alice"]


def test_kbchat_go_disables_typing_notifications(keybase: Simulator) -> None:
    done = keybase.alice.run("chat", "notification-settings", "-disable-typing=true")

    assert (done.code, done.out) == (0, "")


def test_kbchat_go_logs_out_before_a_oneshot(own: Simulator) -> None:
    assert own.alice.run("logout", "-f").code == 0
    assert json.loads(own.alice.run("whoami", "-json").out)["loggedIn"] is False


def test_chat_go_uses_one_pipe_for_everything_and_reads_a_line_for_each_request(
    own: Simulator,
) -> None:
    pipe = own.alice.start("chat", "api")

    sent = pipe.ask(send("go", "hello"))
    # doFetch writes text as it was formatted, spaces and all, and no newline.
    pipe.write('{"method":"list", "params": { "options": { "unread_only": false}}}')
    inbox = json.loads(pipe.line())
    wanted = json.dumps(go_channel("go"))
    pipe.write(f'{{"method": "read", "params": {{"options": {{"channel": {wanted}}}}}}}')
    thread = json.loads(pipe.line())
    pipe.write(
        '{"method": "listconvsonname", "params": {"options": {"topic_type": "CHAT", '
        f'"members_type": "team", "name": "{TEAM}"}}}}}}'
    )
    channels = json.loads(pipe.line())

    assert sent["result"]["message"] == "message sent"
    assert sent["result"]["id"] == 3
    assert [c["channel"]["topic_name"] for c in inbox["result"]["conversations"]] == ["go"]
    texts = [
        e["msg"] for e in thread["result"]["messages"] if e["msg"]["content"]["type"] == "text"
    ]
    assert [m["content"]["text"]["body"] for m in texts] == ["hello"]
    assert [c["channel"]["topic_name"] for c in channels["result"]["conversations"]] == ["go"]


def test_chat_go_reacts_edits_and_gets_by_conversation_id(own: Simulator) -> None:
    own.alice.send("go", "hello")
    pipe = own.alice.start("chat", "api")
    conversation = pipe.ask({"method": "list", "params": {"options": {}}})["result"][
        "conversations"
    ][0]["id"]

    def react(method: str, body: str) -> Any:
        # reactionOptions: no field is left out when empty, so an invalid channel comes along.
        options = {
            "conversation_id": conversation,
            "Message": {"Body": body},
            "message_id": 3,
            "channel": {"name": ""},
        }
        return pipe.ask({"Method": method, "Params": {"Options": options}})

    edited, reacted = react("edit", "hello you"), react("reaction", ":tada:")
    options = {"channel": {"name": ""}, "conversation_id": conversation, "message_ids": [3]}
    got = pipe.ask({"Method": "get", "Params": {"Options": options}})

    assert edited["result"]["message"] == "message edited"
    assert reacted["result"]["message"] == "message reacted to"
    assert got["result"]["messages"][0]["msg"]["content"]["text"]["body"] == "hello you"
    assert own.bob.read("go")["messages"][0]["msg"]["content"]["type"] == "reaction"


def test_chat_go_joins_and_leaves_and_lists_members(own: Simulator) -> None:
    own.alice.send("go", "hello")
    pipe = own.bob.start("chat", "api")

    def ask(method: str) -> Any:
        pipe.write(
            f'{{"method": "{method}", "params": {{"options": {{"channel": {{"name": "{TEAM}", '
            '"members_type": "team", "topic_name": "go"}}}}'
        )
        return json.loads(pipe.line())["result"]

    assert "ratelimits" in ask("join")
    options = {"channel": go_channel("go")}
    members = pipe.ask({"Method": "listmembers", "Params": {"Options": options}})["result"]
    assert [member["username"] for member in members["writers"]] == ["bob"]
    assert "ratelimits" in ask("leave")


def test_kbchat_go_listens_without_filters_and_its_lines_are_short_enough(own: Simulator) -> None:
    own.alice.send("go", "hello")
    listener = own.alice.listen("--wallet", "--convs")

    own.bob.send("go", "x" * 9_000)

    assert listener.event()["msg"]["content"]["type"] == "join"
    line = listener.line()
    assert json.loads(line)["type"] == "chat"
    # bufio.Scanner gives up beyond 64 KiB, and the library does not look.
    assert len(line) < 64 * 1024


def test_the_pinned_library_dereferences_error_entries(own: Simulator) -> None:
    """Of an entry without `msg` it takes `msg.Msg.Content`: nil, until October 2021."""
    own.admin.post(TEAM, "go", "bob/server", "", error="This exploding message is not available")

    entries = own.alice.read("go")["messages"]

    assert [set(entry) for entry in entries[:1]] == [{"error"}]
    assert all("msg" in entry for entry in entries[1:])
    assert channel("go")["members_type"] == "team"
