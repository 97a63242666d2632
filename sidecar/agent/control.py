"""The control socket: HTTP on a unix socket, for `kbwg status`, `kbwg down` and curl.

    GET  /status   the status document
    GET  /why?peer=PEER   why a peer is reached the way it is
    POST /netcheck look at the NAT again, then the status document
    POST /down     end the agent and remove everything it made

The socket's file mode is the access control: whoever may write it may ask.
"""

import contextlib
import http.client
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from ..errors import SidecarError, StartError
from ..status import Status
from ..why.document import Why
from . import http_server
from .http_server import Request, Response

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT: Final = 5.0
"""Seconds that the command line waits for the agent."""

SOCKET_MODE: Final = 0o660

MAX_PATH: Final = 107
"""Bytes of the longest unix socket path (unix(7))."""


class ControlError(SidecarError):
    """The agent cannot be asked: it does not run, or it does not answer."""


class NoAgentError(ControlError):
    """No agent runs here."""


def socket_path(runtime_dir: Path, interface: str) -> Path:
    """Return where the agent of an interface listens."""
    return runtime_dir / f"{interface}.sock"


@contextlib.asynccontextmanager
async def serve(
    path: Path,
    *,
    status: Callable[[], Status],
    why: Callable[[str], Why],
    netcheck: Callable[[], Awaitable[Status]],
    down: Callable[[], None],
) -> AsyncIterator[None]:
    """Answer requests while the context is open.

    Args:
        path: of the socket.
        status: makes the status document.
        why: explains a peer; raises `LookupError` with a reason if there is none such.
        netcheck: looks at the NAT again, and makes the status document.
        down: ends the agent.

    Raises:
        StartError: the socket cannot be made.
    """

    async def answer(request: Request) -> Response:
        match request.method, request.path:
            case "GET", "/status":
                return Response(200, status().model_dump_json(by_alias=True))
            case "GET", "/why":
                try:
                    found = why(request.query.get("peer", ""))
                except LookupError as error:
                    return Response(404, json.dumps({"error": str(error.args[0])}))
                return Response(200, found.model_dump_json())
            case "POST", "/netcheck":
                return Response(200, (await netcheck()).model_dump_json(by_alias=True))
            case "POST", "/down":
                down()
                return Response(202)
            case _:
                return Response(404, json.dumps({"error": "there is nothing like that here"}))

    async with contextlib.AsyncExitStack() as stack:
        try:
            _prepare(path)
            await stack.enter_async_context(http_server.serve(path, answer))
            # The group of the directory, which the image gives to root: `docker exec` and the health
            # check reach an agent of another user without any capability.
            _share(path)
        except OSError as error:
            raise StartError(
                f"the control socket {path} cannot be made ({error.strerror}): set KBWG_RUNTIME_DIR"
            ) from error
        stack.callback(_remove, path)
        yield


def ask(path: Path, method: str, target: str, timeout: float = ANSWER_TIMEOUT) -> Any:
    """Ask the agent behind `path`; return the JSON of its answer, `None` for an empty one.

    Raises:
        ControlError: no agent, no permission, no answer in time, or no JSON.
    """
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        body = answer.read()
    except FileNotFoundError as error:
        raise NoAgentError(f"no agent runs here ({path} does not exist)") from error
    except ConnectionRefusedError as error:
        raise NoAgentError(f"no agent listens on {path}: it ended without a goodbye") from error
    except (OSError, http.client.HTTPException) as error:
        raise ControlError(f"the agent behind {path} does not answer: {error}") from error
    finally:
        connection.close()
    try:
        document = json.loads(body) if body else None
    except ValueError as error:
        if answer.status < 400:
            raise ControlError("the agent's answer is not JSON") from error
        document = None
    if answer.status >= 400:
        text = document.get("error") if isinstance(document, dict) else None
        raise ControlError(text or f"the agent refused {method} {target}: HTTP {answer.status}")
    return document


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("kbwg", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _share(path: Path) -> None:
    path.chmod(SOCKET_MODE)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _prepare(path: Path) -> None:
    if len(str(path)) > MAX_PATH:
        raise OSError(0, f"a socket's path has at most {MAX_PATH} bytes")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if path.is_socket():
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()  # left by an agent that was killed
        else:
            raise OSError(0, "another agent of this interface is running")
        finally:
            probe.close()
