"""`keybase fs read|write|stat|ls` (§5): no JSON, all of it by the service's KBFS process."""

import base64
import os
import sys
import time
from typing import Any
from urllib.parse import unquote

from .rpc import CommandError, Runnable, ServiceClient, UsageError
from .terminal import parse_flags, require_arguments, write_line

CHUNK = 1600
"""Bytes that `fs read` and `fs write` move at once, unless `-b` says otherwise."""

_VALUED = {
    "read": {"b": "b", "buffersize": "b", "rev": "rev"},
    "write": {"b": "b", "buffersize": "b"},
    "stat": {"rev": "rev"},
    "ls": {"rev": "rev"},
}
_PLAIN = {
    "read": {},
    "write": {"a": "a", "append": "a"},
    "stat": {"show-archived": "archived"},
    "ls": {"1": "1", "one": "1", "a": "a", "all": "a", "l": "l", "long": "l", "nocolor": "nocolor"},
}


def parse(verb: str, argv: list[str]) -> Runnable:
    """Parse the arguments of one verb."""
    options, words = parse_flags(argv, _VALUED[verb], _PLAIN[verb])
    require_arguments(words, 1, f"{verb} requires a KBFS path argument")
    path = _path(words[0])
    arguments: dict[str, Any] = {"path": path}
    if "rev" in options:
        arguments["revision"] = _number(options["rev"], "rev")

    size = _number(options["b"], "b") if "b" in options else CHUNK

    def run(service: ServiceClient) -> None:
        match verb:
            case "read":
                _read(service, arguments, size)
            case "write":
                _write(service, path, append="a" in options)
            case "stat":
                _stat(service, arguments, archived="archived" in options)
            case _:
                for entry in service.call("fs-ls", **arguments):
                    write_line(entry)

    return run


def _number(text: str, flag: str) -> int:
    if not text.isdecimal():
        raise UsageError(f'invalid value "{text}" for flag -{flag}: parse error')
    return int(text)


def _path(word: str) -> str:
    if word.startswith("keybase://"):
        word = "/keybase/" + unquote(word.removeprefix("keybase://"))
    return word.rstrip("/")


def _read(service: ServiceClient, arguments: dict[str, Any], size: int) -> None:
    """Read chunk by chunk: an update in between tears the content."""
    offset = 0
    while chunk := base64.b64decode(service.call("fs-read", offset=offset, size=size, **arguments)):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        offset += len(chunk)


def _write(service: ServiceClient, path: str, *, append: bool) -> None:
    # The file is opened, and so truncated, before the first byte of the input is read.
    handle = service.call("fs-open", path=path, append=append)
    while chunk := os.read(sys.stdin.fileno(), CHUNK):
        content = base64.b64encode(chunk).decode()
        service.call("fs-write", path=path, handle=handle, content=content)
    service.call("fs-close", path=path, handle=handle)


def _stat(service: ServiceClient, arguments: dict[str, Any], *, archived: bool) -> None:
    path = arguments["path"]
    # The first line is out before KBFS is asked.
    write_line(path.removeprefix("/keybase"))
    entries = service.call("fs-stat", archived=archived, **arguments)
    if not entries:
        raise CommandError("file or folder does not exist (code 5103)")
    for entry in entries:
        moment = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(entry["time"]))
        name = path.rpartition("/")[2]
        fields = [moment, entry["type"], str(entry["size"]), name, entry["writer"], "NOT_STARTED"]
        prefix = f"{entry['revision']})\t" if archived else ""
        write_line(prefix + "\t".join(fields))
