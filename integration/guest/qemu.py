"""The guest `qemu`: Debian's kernel as it is, on an emulated machine."""

import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..errors import LabError
from . import machine, stock_kernel
from .initramfs import Directory, File, archive
from .job import BUSYBOX, Job, Sink
from .machine import Channels
from .stock_kernel import StockKernel

MEMORY: Final = "2G"

PROCESSORS: Final = "2"

PROCESSOR: Final = "qemu64"
"""Emulated vector instructions, which others have, make WireGuard half as fast."""

MODULES: Final = ("virtio_pci", "virtio_console", "virtiofs", "overlay")
"""What the root file system takes; from then on modules load by themselves."""

PARAMETERS: Final = (
    "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic "
    # What an emulated machine needs not be asked, and a test not be kept from.
    "mitigations=off nokaslr tsc=reliable no_timer_check clocksource=tsc rcupdate.rcu_expedited=1 "
    "audit=0 apparmor=0 selinux=0 random.trust_cpu=on cryptomgr.notests nowatchdog"
)

_VIRTIOFSD: Final = (Path("/usr/lib/qemu/virtiofsd"), Path("/usr/libexec/virtiofsd"))
"""Debian 12's, a part of QEMU, and Debian 13's, a program of its own with other options."""

_SHARE_SECONDS: Final = 10.0

_HERE: Final = Path(__file__).parent


class Qemu:
    """A `Guest`.

    Args:
        say: is told what takes long.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def run(self, job: Job, output: Sink, records: Sink) -> int:
        kernel = stock_kernel.provide(self._say)
        if not BUSYBOX.exists():
            raise LabError(f"no {BUSYBOX}: run integration/provision.sh qemu")
        with tempfile.TemporaryDirectory(prefix="kbwg-qemu-") as name:
            scratch = Path(name)
            (scratch / "command").write_text(job.script, encoding="utf-8")
            (scratch / "initrd").write_bytes(_initrd(kernel, scratch))
            with _shared_root(scratch) as share:
                return machine.run(
                    lambda channels: _command(kernel, scratch / "initrd", share, channels),
                    job,
                    output,
                    records,
                    scratch / "console",
                )


def _initrd(kernel: StockKernel, scratch: Path) -> bytes:
    modules = kernel.load_order(MODULES)
    names = [path.name.removesuffix(".xz").removesuffix(".gz") for path in modules]
    configuration = {
        "modules": " ".join(names),
        "release": kernel.release,
        "tree_of_modules": str(kernel.modules),
        "scratch": str(scratch),
        "furnish": str(_HERE / "furnish.sh"),
    }
    text = "".join(f"{key}={shlex.quote(value)}\n" for key, value in configuration.items())
    directories = ("bin", "proc", "sys", "dev", "modules", "lower", "layer", "new")
    return archive(
        [
            *map(Directory, directories),
            File("bin/busybox", BUSYBOX.read_bytes()),
            File("init", (_HERE / "qemu_init.sh").read_bytes()),
            File("guest.conf", text.encode()),
            *(
                File(f"modules/{name}", stock_kernel.read_module(path))
                for name, path in zip(names, modules, strict=True)
            ),
        ]
    )


@contextmanager
def _shared_root(scratch: Path) -> Iterator[Path]:
    """Share the host's files; gives the socket at which QEMU finds them."""
    program = next((path for path in _VIRTIOFSD if path.exists()), None)
    if program is None:
        raise LabError("no virtiofsd: run integration/provision.sh qemu")
    socket = scratch / "root.sock"
    options = (
        ["-o", "source=/,cache=always,no_posix_lock,xattr,sandbox=chroot,log_level=err"]
        if program == _VIRTIOFSD[0]
        else ["--shared-dir=/", "--cache=always", "--xattr", "--sandbox=chroot"]
    )
    with (scratch / "virtiofsd.log").open("wb") as log:
        daemon = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", program, f"--socket-path={socket}", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + _SHARE_SECONDS
        while not socket.exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                said = (scratch / "virtiofsd.log").read_text(encoding="utf-8", errors="replace")
                raise LabError(f"virtiofsd does not start: {said.strip()}")
            time.sleep(0.01)
        yield socket
    finally:
        daemon.kill()
        daemon.wait()


def _command(kernel: StockKernel, initrd: Path, share: Path, channels: Channels) -> list[str]:
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
    argv += ["-no-reboot", "-monitor", "none", "-serial", "stdio"]
    argv += ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", PROCESSOR]
    argv += ["-smp", PROCESSORS, "-m", MEMORY]
    argv += ["-kernel", str(kernel.image), "-initrd", str(initrd), "-append", PARAMETERS]
    # The shared file system works on the guest's memory.
    argv += ["-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on"]
    argv += ["-numa", "node,memdev=memory"]
    argv += ["-chardev", f"socket,id=share,path={share}"]
    argv += ["-device", "vhost-user-fs-pci,chardev=share,tag=root,queue-size=1024"]
    argv += ["-device", "virtio-serial-pci"]
    for number, name in enumerate(("output", "records", "status"), start=1):
        descriptor = getattr(channels, name)
        # Not `stdio`: the end of its input would close the port for the guest, too.
        argv += ["-add-fd", f"fd={descriptor},set={number}"]
        argv += ["-chardev", f"file,id={name},path=/dev/fdset/{number},append=on"]
        argv += ["-device", f"virtserialport,chardev={name},name={name}"]
    return argv
