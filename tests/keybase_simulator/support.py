"""A running simulator and its devices' command lines, as a program would use them."""

import asyncio
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.keybase_simulator.admin import SimulatorAdmin
from integration.keybase_simulator.paths import KEYBASE, environment
from integration.keybase_simulator.seed import world_from_environment
from integration.keybase_simulator.server import Server

REPOSITORY = Path(__file__).parents[2]

TEAM = "acme.vpn"

TIME_SCALE = 0.2
"""Keybase's second is a fifth of one, its minute 12 seconds."""

PATIENCE = 10.0
"""Seconds after which a test gives up on a process."""


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str


class Process:
    """A command that runs on, read line by line and never for longer than `PATIENCE`."""

    def __init__(self, argv: list[str | Path], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._buffers = {"out": b"", "err": b""}

    def write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def ask(self, request: dict[str, Any]) -> Any:
        self.write(json.dumps(request))
        return json.loads(self.line())

    def line(self, stream: str = "out") -> str:
        """Return the next line of `out` or `err`."""
        source = self._process.stdout if stream == "out" else self._process.stderr
        assert source is not None
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self._buffers[stream]:
            left = deadline - time.monotonic()
            assert left > 0, f"no line on std{stream}"
            if not select.select([source], [], [], left)[0]:
                continue
            chunk = os.read(source.fileno(), 1 << 16)
            assert chunk, f"std{stream} ended"
            self._buffers[stream] += chunk
        line, _, self._buffers[stream] = self._buffers[stream].partition(b"\n")
        return line.decode()

    def event(self) -> Any:
        return json.loads(self.line())

    def bodies(self, count: int) -> list[str]:
        """Return the bodies of the next texts that are pushed."""
        return [self.event()["msg"]["content"]["text"]["body"] for _ in range(count)]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def outlives(self, seconds: float) -> bool:
        """Return whether the process still runs after some seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self) -> Done:
        """Close the input and wait."""
        out, err = self._process.communicate(timeout=PATIENCE)
        out, err = self._buffers["out"] + out, self._buffers["err"] + err
        return Done(self._process.returncode, out.decode(), err.decode())

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=PATIENCE)


class Host:
    """The host of one device."""

    def __init__(self, root: Path, device: str) -> None:
        self.device = device
        self.env = {
            **os.environ,
            **environment(root, device),
            "KEYBASE_NO_AUTO_FORK": "1",
            "TZ": "UTC",
        }
        self._processes: list[Process] = []

    def run(self, *argv: str, stdin: str = "", **variables: str) -> Done:
        done = subprocess.run(
            [KEYBASE, *argv],
            input=stdin.encode(),
            env=self.env | variables,
            capture_output=True,
            timeout=PATIENCE + 10,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *argv: str) -> Process:
        process = Process([KEYBASE, *argv], self.env)
        self._processes.append(process)
        return process

    def listen(self, *argv: str) -> Process:
        """Start `api-listen` and wait for the banner, after which nothing is missed."""
        process = self.start("chat", "api-listen", *argv)
        while not process.line("err").startswith("Listening for chat notifications."):
            pass
        return process

    def api(self, method: str, api: str = "chat", **options: Any) -> Any:
        request = {"method": method, "params": {"version": 1, "options": options}}
        done = self.run(api, "api", stdin=json.dumps(request))
        assert (done.code, done.err) == (0, "")
        return json.loads(done.out)

    def result(self, method: str, api: str = "chat", **options: Any) -> Any:
        answer = self.api(method, api, **options)
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, method: str, api: str = "chat", **options: Any) -> str:
        return str(self.api(method, api, **options)["error"]["message"])

    def send(self, topic: str, body: str, **more: Any) -> Any:
        return self.result("send", channel=channel(topic), message={"body": body}, **more)

    def read(self, topic: str, **more: Any) -> Any:
        return self.result("read", channel=channel(topic), **({"peek": True} | more))

    def texts(self, topic: str, **more: Any) -> list[str]:
        """Return the bodies of the texts of a channel, newest first."""
        return [
            entry["msg"]["content"]["text"]["body"]
            for entry in self.read(topic, **more)["messages"]
            if entry["msg"]["content"]["type"] == "text"
        ]

    def stop(self) -> None:
        for process in self._processes:
            process.stop()
        self._processes.clear()


class Simulator:
    """A simulator with alice (laptop, phone), bob (server) and carol, a reader (tablet)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.admin = SimulatorAdmin(root)
        self.alice = Host(root, "alice/laptop")
        self.phone = Host(root, "alice/phone")
        self.bob = Host(root, "bob/server")
        self.carol = Host(root, "carol/tablet")
        self.mallory = Host(root, "mallory/box")

    def stop_processes(self) -> None:
        for host in (self.alice, self.phone, self.bob, self.carol, self.mallory):
            host.stop()


WORLD = {
    "teams": {TEAM: {"alice": "owner", "bob": "writer", "carol": "reader"}},
    "devices": ["alice/laptop", "alice/phone", "bob/server", "carol/tablet", "mallory/box"],
}


@contextmanager
def simulator(root: Path, **variables: str) -> Iterator[Simulator]:
    """Run a simulator on a loop of its own, which starts sooner than a process."""
    described = {"SIMULATOR_WORLD": json.dumps(WORLD), "SIMULATOR_TIME_SCALE": str(TIME_SCALE)}
    server = Server(root, world_from_environment(variables or described, time.time()))
    loop = asyncio.new_event_loop()
    serving = loop.create_task(server.run())
    thread = threading.Thread(target=_serve, args=(loop, serving))
    thread.start()
    try:
        wait_for_socket(root)
        running = Simulator(root)
        try:
            yield running
        finally:
            running.stop_processes()
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(PATIENCE)


def _serve(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None]) -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(serving)
    # The connections' own tasks end when their sockets do.
    if tasks := asyncio.all_tasks(loop):
        loop.run_until_complete(asyncio.wait(tasks, timeout=PATIENCE))
    loop.close()


def wait_for_socket(root: Path) -> None:
    """Wait until a simulator serves."""
    deadline = time.monotonic() + PATIENCE
    while not (root / "admin.sock").is_socket():
        assert time.monotonic() < deadline, "the simulator did not start"
        time.sleep(0.005)


def channel(topic: str, **more: str) -> dict[str, str]:
    """Return the channel object of a topic of the team."""
    return {"name": TEAM, "members_type": "team", "topic_name": topic, **more}
