"""A process whose CPU time is measured, and the other end of its pipe."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


class Subject:
    """A child that tells its CPU time when asked."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin, self._stdout = stdin, stdout
        self.ready = self._read()
        """What it said when it was ready."""

    def cpu_time(self) -> float:
        """Return the seconds of CPU, user and system, that it has spent."""
        self._stdin.write("\n")
        self._stdin.flush()
        return float(self._read()["cpu"])

    def _read(self) -> dict[str, float]:
        line = self._stdout.readline()
        if not line:
            raise RuntimeError("the measured process ended")
        parsed = json.loads(line)
        assert isinstance(parsed, dict)
        return parsed


@contextmanager
def subject(module: str, *arguments: str | int) -> Iterator[Subject]:
    """Run `python -m MODULE ARGUMENT…` until the context ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield Subject(process.stdin, process.stdout)
        finally:
            process.kill()
