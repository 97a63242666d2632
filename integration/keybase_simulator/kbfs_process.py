"""`kbfsfuse -mount-type=none`: connects to the service, and again whenever that comes back."""

import os
import socket
import sys
import time
from typing import NoReturn

from .cli import socket_path
from .terminal import complain, flag_in_environment

RETRY_SECONDS = 0.1
"""Between tries to reach the service."""


def main(argv: list[str]) -> NoReturn:
    """Run until killed."""
    if os.getuid() == 0 and not flag_in_environment("KEYBASE_ALLOW_ROOT"):
        complain("Oops, you are trying to run as an admin user (Uid: 0). This isn't supported.")
        sys.exit(2)
    if not any(word.lstrip("-") == "mount-type=none" for word in argv):
        complain("there is no /dev/fuse: only -mount-type=none is simulated")
        sys.exit(1)
    path = socket_path({})
    while True:
        _connect_and_stay(path)
        time.sleep(RETRY_SECONDS)


def _connect_and_stay(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            connection.sendall(b'{"rpc": "kbfs-connect", "args": {}}\n')
            if connection.recv(1 << 10):
                complain("kbfs is connected to the service", "INFO")
                connection.recv(1)
        except OSError:
            return
