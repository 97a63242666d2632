"""A host that runs `kb-wireguard` of 2020: its calls of Keybase, in its order, and its WireGuard.

    PREDECESSOR_ENDPOINT  what its operator typed in as -endpoint; its port is WireGuard's, too

A fresh key at each start, `/24` on kbwg0, `wg setconf` and then `wg syncconf`, no keepalive, no MTU;
announces every half hour and reads the whole thread every five seconds, marking it read.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from .own_network import required, run, set_default_route
from .predecessor import (
    ANNOUNCE_SECONDS,
    READ_SECONDS,
    Predecessor,
    PredecessorExit,
    announcement,
)

INTERFACE: Final = "kbwg0"


def predecessor(environment: Mapping[str, str]) -> None:
    """Play the role until a signal; then the device is deleted."""
    set_default_route(environment)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    endpoint = required(environment, "PREDECESSOR_ENDPOINT")
    keybase = _Keybase(required(environment, "KBWG_TEAM"))
    try:
        _run(keybase, endpoint)
    except PredecessorExit as error:
        print(f"kb-wireguard: {error}", file=sys.stderr, flush=True)
        sys.exit(3)
    finally:
        subprocess.run(["ip", "link", "delete", INTERFACE], check=False)


def _run(keybase: "_Keybase", endpoint: str) -> None:
    known = keybase.start()
    known.load_peers(keybase.peers_json())
    private_key = run("wg", "genkey").strip()
    public_key = run("wg", "pubkey", stdin=private_key + "\n").strip()
    port = int(endpoint.rpartition(":")[2])
    _make_device(known.ip)
    # Never truncated by the original; here only what it reads of the channel is of interest.
    config = Path(tempfile.mkdtemp()) / "kbwg0.conf"
    config.write_text(known.configuration(private_key, port), encoding="ascii")
    run("wg", "setconf", INTERFACE, str(config))
    announced = -ANNOUNCE_SECONDS
    while True:
        if time.monotonic() - announced >= ANNOUNCE_SECONDS:
            keybase.send(announcement(endpoint, public_key))
            announced = time.monotonic()
        if known.read(keybase.thread(), time.time()):
            config.write_text(known.configuration(private_key, port), encoding="ascii")
            run("wg", "syncconf", INTERFACE, str(config))
            print("peers changed", flush=True)
        time.sleep(READ_SECONDS)


class _Keybase:
    """Its calls, one by one; one pipe for everything about chat, written without newlines."""

    def __init__(self, team: str) -> None:
        self._team = team
        self._channel = {"name": team, "members_type": "team", "topic_name": "announce"}

    def start(self) -> Predecessor:
        """Find out who we are, and that the channel is there."""
        self._command("whoami", "-json")
        self._command("chat", "notification-settings", "-disable-typing=true")
        self._pipe = subprocess.Popen(
            [_program(), "chat", "api"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        status = json.loads(self._command("status", "--json"))
        inbox = self._ask({"method": "list", "params": {"options": {"unread_only": False}}})
        channels = [c["channel"] for c in inbox["conversations"] or ()]
        wanted = {"name": self._team, "topic_type": "chat", "topic_name": "announce"}
        if not any(wanted.items() <= channel.items() for channel in channels):
            raise PredecessorExit(
                f"didn't find announce conv: Failed to find chat @{self._team}#announce"
            )
        return Predecessor(status["Username"], status["Device"]["name"])

    def peers_json(self) -> str:
        return self._command("fs", "read", f"/keybase/team/{self._team}/peers.json")

    def thread(self) -> list[dict[str, Any]]:
        """Read everything, which marks it read: the library ignores that it was not asked to."""
        asked = {"method": "read", "params": {"options": {"channel": self._channel}}}
        found: list[dict[str, Any]] = self._ask(asked)["messages"]
        return found

    def send(self, body: str) -> None:
        message = {"channel": self._channel, "Message": {"Body": body}, "confirm_lumen_send": False}
        self._ask({"Method": "send", "Params": {"Options": message}})

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._pipe.stdin is not None
        assert self._pipe.stdout is not None
        self._pipe.stdin.write(json.dumps(request).encode())
        self._pipe.stdin.flush()
        answer = json.loads(self._pipe.stdout.readline())
        if "error" in answer:
            raise PredecessorExit(answer["error"]["message"])
        return answer["result"]

    def _command(self, *argv: str) -> str:
        return run(_program(), *argv)


def _program() -> str:
    return os.environ.get("KBWG_KEYBASE", "keybase")


def _make_device(ip: str) -> None:
    made = subprocess.run(
        ["ip", "link", "add", INTERFACE, "type", "wireguard"], capture_output=True, check=False
    )
    if made.returncode:
        program = shutil.which("wireguard-go") or "wireguard-go"
        # Its daemon keeps the pipe of whoever started it, unless it is silent.
        subprocess.run(
            [program, INTERFACE],
            check=True,
            env={**os.environ, "LOG_LEVEL": "silent"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    run("ip", "address", "add", f"{ip}/24", "dev", INTERFACE)
    run("ip", "link", "set", INTERFACE, "up")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)
