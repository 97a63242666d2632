"""What pytest in a guest tells pytest on the host: one JSON object a line, on `job.RECORDS`."""

import base64
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import LabError

_REPORT: Final = "report"
_FILES: Final = "files"


@dataclass(frozen=True, slots=True)
class Report:
    """A phase of a test has ended; `content` is pytest's own serialisation of its report."""

    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Files:
    """What a failed test has left in a directory below the checkout."""

    archive: bytes


Record = Report | Files


def pack(directory: Path, root: Path) -> Files:
    """Pack a directory with its path from `root`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(directory, directory.relative_to(root))
    return Files(buffer.getvalue())


def unpack(files: Files, root: Path) -> None:
    """Put the files where they were in the guest."""
    with tarfile.open(fileobj=io.BytesIO(files.archive)) as archive:
        archive.extractall(root, filter="data")


def encode(record: Record) -> bytes:
    """Return the record's line."""
    document: dict[str, object]
    match record:
        case Report(content):
            document = {_REPORT: content}
        case Files(archive):
            document = {_FILES: base64.b64encode(archive).decode()}
    return json.dumps(document).encode() + b"\n"


def write(channel: int, record: Record) -> None:
    """Write a record to a file descriptor, whole."""
    data = encode(record)
    while data:
        data = data[os.write(channel, data) :]


class Decoder:
    """Takes in bytes as they come, gives out records."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Record]:
        """Give the records that are complete now.

        Raises:
            LabError: not a record.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield _decode(line)


def _decode(line: bytes) -> Record:
    try:
        document = json.loads(line)
        if _REPORT in document:
            return Report(document[_REPORT])
        return Files(base64.b64decode(document[_FILES], validate=True))
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(f"a guest's record is malformed: {line[:200]!r}") from error
