"""An agent's control socket, from outside of its node: what `kbwg status --json` prints."""

import http.client
import socket
from pathlib import Path
from typing import Final

TIMEOUT_SECONDS: Final = 5.0
"""An agent answers in milliseconds; on a loaded machine in tenths of a second."""


def ask(path: Path) -> str:
    """Get the status document.

    Raises:
        OSError: nobody answers.
    """
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        body = answer.read().decode()
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise OSError(f"{answer.status} {answer.reason}: {body}")
    return body


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
