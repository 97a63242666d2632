"""The guest `uml`: a Linux kernel that is a program of the host, with time of its own."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import LabError
from . import machine, uml_kernel
from .job import BUSYBOX, Job, Sink
from .machine import Channels

MEMORY: Final = "2G"
"""Taken from the host as it is used: files that were written, and a dozen Python programs."""

_HERE: Final = Path(__file__).parent


class UserModeLinux:
    """A `Guest`. Its time stands still while it waits for nothing but time (`time-travel`).

    Args:
        say: is told what takes long.
        virtual_time: without it, time is that of the host.
    """

    def __init__(self, say: Callable[[str], None], *, virtual_time: bool = True) -> None:
        self._say = say
        self._virtual_time = virtual_time

    def run(self, job: Job, output: Sink, records: Sink) -> int:
        kernel = uml_kernel.provide(self._say)
        if not BUSYBOX.exists():
            raise LabError(f"no {BUSYBOX}: run integration/provision.sh uml")
        with tempfile.TemporaryDirectory(prefix="kbwg-uml-") as name:
            scratch = Path(name)
            (scratch / "root").mkdir()
            (scratch / "command").write_text(job.script, encoding="utf-8")
            (scratch / "init").write_text(_init(scratch), encoding="utf-8")
            (scratch / "init").chmod(0o755)
            return machine.run(
                lambda channels: self._command(kernel, scratch, channels),
                job,
                output,
                records,
                scratch / "console",
            )

    def _command(self, kernel: Path, scratch: Path, channels: Channels) -> list[str]:
        lines = [f"ssl{n}=null,fd:{descriptor}" for n, descriptor in enumerate(channels)]
        return [
            *_one_cpu(),
            str(kernel),
            f"mem={MEMORY}",
            *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={scratch}/init"),
            *("con=null", "con0=null,fd:1", *lines),
            *("quiet", "loglevel=4", "panic=-1", "oops=panic"),
            # Falls back to ptrace where the host does not have what it takes.
            "seccomp=auto",
            # Each would make a device in the first namespace.
            "dummy.numdummies=0",
            *(("time-travel",) if self._virtual_time else ()),
            f"uml_dir={scratch}",
            "umid=guest",
        ]


def _init(scratch: Path) -> str:
    variables = f"scratch={scratch}\nfurnish={_HERE / 'furnish.sh'}\n"
    return f"#!{BUSYBOX} sh\n{variables}{(_HERE / 'uml_init.sh').read_text(encoding='utf-8')}"


def _one_cpu() -> list[str]:
    """Keep kernel and programs of a guest on one processor.

    They take turns and never run at once; each turn is a wake-up, which is dear across processors.
    """
    if shutil.which("taskset") is None:
        return []
    # Which does not matter, but two guests should not have the same.
    processors = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(processors[os.getpid() % len(processors)])]
