"""`keybase service` as a process of its own, and what it keeps in its home (§7.3).

It answers the CLI on `keybased.sock`. What needs the servers it passes on to them, a connection
for a connection; who is logged in, and whether KBFS is connected, it knows itself.

    H/.config/keybase/config.json       whose device this is
    H/.local/share/keybase/USER.ss2     the secret of a named device; a oneshot leaves none
"""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from .accounts import Session
from .rpc import CommandError
from .terminal import complain
from .world import user_id

LINE_LIMIT = 64 * 2**20
"""Bytes of the longest line, as in the server."""

PRESENCE_RETRY = 0.1
"""Seconds between tries to reach the servers."""

NO_NETWORK = "API network error: dial unix cloud: connect: connection refused"


class KeybaseService:
    """The service of one home."""

    def __init__(self, socket: Path, config: Path, data: Path, cloud: Path) -> None:
        self._socket = socket
        self._config = config
        self._data = data
        self._cloud = cloud
        self._session: Session | None = None
        self._oneshot = False
        self._presence: asyncio.StreamWriter | None = None
        self._kbfs = 0
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or `ctl stop`.

        Raises:
            CommandError: another service of this home runs.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        await self._take_socket()
        self._load()
        presence = loop.create_task(self._keep_presence())
        server = await asyncio.start_unix_server(self._handle, str(self._socket), limit=LINE_LIMIT)
        pid = self._socket.with_suffix(".pid")
        pid.write_text(f"{os.getpid()}", encoding="ascii")
        complain("keybase service is up", "INFO")
        await self._stopped.wait()
        presence.cancel()
        server.close()
        for path in (self._socket, pid):
            path.unlink(missing_ok=True)

    async def _take_socket(self) -> None:
        self._socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            _, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            self._socket.unlink(missing_ok=True)
        else:
            writer.close()
            raise CommandError(f"error locking {self._socket.with_suffix('.pid')}: it is locked")

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: _Upstream | None = None
        kbfs = False
        try:
            while line := await reader.readline():
                request = json.loads(line)
                if request["rpc"] == "kbfs-connect":
                    kbfs = True
                    self._kbfs += 1
                    await self._tell_kbfs()
                    answer: dict[str, Any] | None = {"result": None}
                else:
                    try:
                        answer = await self._answer(request["rpc"], request["args"])
                    except CommandError as error:
                        answer = {"error": str(error)}
                if answer is not None:
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
                    continue
                if upstream is None:
                    assert self._session is not None
                    upstream = await _Upstream.open(self._cloud, self._session, writer)
                upstream.send(line)
        except (ConnectionError, CommandError):
            pass
        finally:
            if kbfs:
                self._kbfs -= 1
                await self._tell_kbfs()
            if upstream is not None:
                upstream.close()
            writer.close()

    async def _answer(self, rpc: str, args: dict[str, Any]) -> dict[str, Any] | None:
        """Answer what needs no server; `None`: this is for the servers."""
        match rpc:
            case "ping":
                return {"pong": True}
            case "hello":
                return {"result": {"log": []}}
            case "stop":
                self._stopped.set()
                return {"result": None}
            case "oneshot":
                await self._log_in("oneshot", args)
                return {"result": None}
            case "login":
                await self._log_in("provision", args)
                return {"result": None}
            case "logout":
                self._log_out()
                return {"result": None}
            case "identity" if self._session is None:
                return {"result": self._nobody()}
            case _ if self._session is None:
                return {"error": "Login required"}
            case _:
                return None

    async def _log_in(self, how: str, args: dict[str, Any]) -> None:
        if self._session is not None:
            same = self._session.device.partition("/")[0] == args["username"]
            if how == "provision" and same and not self._oneshot:
                return
            raise CommandError("You are already logged in as a different user; try logout first")
        reader, writer = await _dial(self._cloud)
        try:
            self._session = Session(**await _call(reader, writer, how, args))
        finally:
            writer.close()
        self._oneshot = how == "oneshot"
        if not self._oneshot:
            self._store(self._session)
        self._changed.set()

    def _log_out(self) -> None:
        if self._session is not None:
            username = self._session.device.partition("/")[0]
            (self._data / f"{username}.ss2").unlink(missing_ok=True)
        self._session = None
        if self._presence is not None:
            self._presence.close()
        self._presence = None

    async def _keep_presence(self) -> None:
        """Tell the servers that this device is up, for as long as it is logged in."""
        while True:
            await self._changed.wait()
            while self._session is not None:
                with contextlib.suppress(CommandError, ConnectionError):
                    await self._appear(self._session)
                self._presence = None
                await asyncio.sleep(PRESENCE_RETRY)
            self._changed.clear()

    async def _appear(self, session: Session) -> None:
        reader, writer = await _dial(self._cloud)
        try:
            await _call(reader, writer, "attach", {**vars(session), "as": "service"})
            self._presence = writer
            await self._tell_kbfs()
            while await reader.readline():
                pass
        finally:
            writer.close()

    async def _tell_kbfs(self) -> None:
        if self._presence is not None:
            line = json.dumps({"rpc": "kbfs", "args": {"up": self._kbfs > 0}})
            self._presence.write(line.encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await self._presence.drain()

    def _nobody(self) -> dict[str, Any]:
        return {
            "logged_in": False,
            "username": "",
            "uid": user_id(""),
            "device": "",
            "device_id": "",
            "type": "",
            "ctime_ms": 0,
            "kbfs": self._kbfs > 0,
            "log": str(self._data / "keybase.service.log"),
            "clients": [],
        }

    def _store(self, session: Session) -> None:
        username = session.device.partition("/")[0]
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret = self._data / f"{username}.ss2"
        secret.touch(mode=0o600)
        secret.write_text(json.dumps(vars(session)), encoding="utf-8")
        self._config.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps({"current_user": username})
        (self._config / "config.json").write_text(text, encoding="utf-8")

    def _load(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            text = (self._config / "config.json").read_text(encoding="utf-8")
            secret = self._data / f"{json.loads(text)['current_user']}.ss2"
            self._session = Session(**json.loads(secret.read_text(encoding="utf-8")))
            self._changed.set()


class _Upstream:
    """A client's connection, continued to the servers."""

    def __init__(self, writer: asyncio.StreamWriter, copying: "asyncio.Task[None]") -> None:
        self._writer = writer
        self._copying = copying

    @classmethod
    async def open(cls, cloud: Path, session: Session, client: asyncio.StreamWriter) -> "_Upstream":
        reader, writer = await _dial(cloud)
        await _call(reader, writer, "attach", {**vars(session), "as": "client"})
        # It ends with the connection that it reads.
        return cls(writer, asyncio.get_running_loop().create_task(_copy(reader, client)))

    def send(self, line: bytes) -> None:
        self._writer.write(line)

    def close(self) -> None:
        self._copying.cancel()
        self._writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    writer.close()


async def _dial(cloud: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_unix_connection(str(cloud), limit=LINE_LIMIT)
    except OSError:
        raise CommandError(NO_NETWORK) from None


async def _call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rpc: str, args: dict[str, Any]
) -> Any:
    writer.write(json.dumps({"rpc": rpc, "args": args}).encode() + b"\n")
    line = await reader.readline()
    if not line:
        raise CommandError(NO_NETWORK)
    answer = json.loads(line)
    if "error" in answer:
        raise CommandError(answer["error"])
    return answer.get("result")
