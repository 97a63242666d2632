"""A guest as a process of the host: what it writes is read while it runs, and it ends in time."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ..errors import LabError
from .job import GuestError, Job, Sink, tail

_CHUNK: Final = 1 << 16

_EXIT: Final = b"exit "
"""What the guest writes to `Channels.status`, with the command's exit status."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Pipes out of the guest: file descriptors to write to."""

    output: int
    records: int
    status: int

    def __iter__(self) -> Iterator[int]:
        return iter((self.output, self.records, self.status))


def run(
    command: Callable[[Channels], Sequence[str]],
    job: Job,
    output: Sink,
    records: Sink,
    console: Path,
) -> int:
    """Run a guest to its end; see `job.Guest.run`.

    Args:
        command: makes the guest's command line.
        job: for its time limit.
        output: takes what comes out of the first channel.
        records: of the second.
        console: file for what the command itself prints, which is the guest's console.
    """
    status = bytearray()
    with _Process(command, console) as process:
        in_time = process.read((output, records, status.extend), job.seconds)
    if not in_time:
        raise GuestError(
            f"after {job.seconds:g} s the guest still ran; its console:\n{tail(console)}"
        )
    if not status.startswith(_EXIT):
        raise GuestError(f"the guest died; its console:\n{tail(console)}")
    return int(status.removeprefix(_EXIT))


class _Process:
    """The process, in a session of its own, whose members all end with it."""

    def __init__(self, command: Callable[[Channels], Sequence[str]], console: Path) -> None:
        pipes = [os.pipe() for _ in range(3)]
        self._readers = [reader for reader, _ in pipes]
        channels = Channels(*(writer for _, writer in pipes))
        argv = [*_tied_to_us(), *command(channels)]
        try:
            with console.open("wb") as file:
                self._popen = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    pass_fds=tuple(channels),
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise LabError(f"no program {error.filename}: run integration/provision.sh") from None
        finally:
            for writer in channels:
                os.close(writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._popen.wait()
        for reader in self._readers:
            os.close(reader)

    def read(self, sinks: Sequence[Sink], seconds: float) -> bool:
        """Pass on what comes, until the guest has ended; whether it did in time."""
        deadline = time.monotonic() + seconds
        alive = os.pidfd_open(self._popen.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(alive, selectors.EVENT_READ)
                for reader, sink in zip(self._readers, sinks, strict=True):
                    selector.register(reader, selectors.EVENT_READ, sink)
                while selector.get_map():
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    for key, _ in selector.select(left):
                        if key.data is None:
                            # What it has started holds the pipes open.
                            self._end()
                        elif data := os.read(key.fd, _CHUNK):
                            key.data(data)
                            continue
                        selector.unregister(key.fileobj)
        finally:
            os.close(alive)
        return True

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)


def _tied_to_us() -> list[str]:
    """Let a guest, and all that it has started, end with whoever runs it, however that ends.

    A user-mode kernel that is killed leaves its programs behind, which nobody holds back any more.
    So they share a namespace, whose first process takes no part, because nothing in there could kill
    that one. Without root only the kernel itself ends.
    """
    tied = ["setpriv", "--pdeathsig", "KILL", "--"]
    if os.geteuid() == 0:
        tied += ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child", "--"]
        tied += ["sh", "-c", '"$@"; exit $?', "guest"]
    return tied
