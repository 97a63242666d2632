"""Debian's own kernel for virtual machines: fetched and unpacked, never installed."""

import gzip
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import LabError
from . import cache, debian

PACKAGE: Final = "linux-image-cloud-amd64"
"""Names the current one. Without drivers of real machines it boots in two thirds of the time."""


@dataclass(frozen=True, slots=True)
class StockKernel:
    """An unpacked package."""

    root: Path

    @property
    def image(self) -> Path:
        return next(self.root.glob("boot/vmlinuz-*"))

    @property
    def release(self) -> str:
        """What `uname -r` says in it."""
        return self.modules.name

    @property
    def modules(self) -> Path:
        return next(self.root.glob("lib/modules/*"))

    def load_order(self, names: Iterable[str]) -> list[Path]:
        """List the files of modules and of what they need, in the order in which they load.

        Raises:
            LabError: the kernel has no such module.
        """
        needs = dict(self._dependencies())
        builtin = {_name(line) for line in self._lines("modules.builtin")}
        order: list[Path] = []
        for name in names:
            if name in builtin:
                continue
            if name not in needs:
                raise LabError(f"the kernel {self.release} has no module {name}")
            order += [path for path in needs[name] if path not in order]
        return order

    def _dependencies(self) -> Iterable[tuple[str, list[Path]]]:
        for line in self._lines("modules.dep"):
            path, _, needed = line.partition(":")
            files = [*reversed(needed.split()), path]
            yield _name(path), [self.modules / file for file in files]

    def _lines(self, file: str) -> list[str]:
        return (self.modules / file).read_text(encoding="utf-8").splitlines()


def provide(say: Callable[[str], None]) -> StockKernel:
    """Find the kernel in the cache, or fetch it.

    Raises:
        LabError: it cannot be fetched.
    """
    package = debian.HOST.dependency(PACKAGE)
    version = debian.HOST.version(package)

    def unpack(directory: Path) -> None:
        say(f"fetching {package} {version}")
        archive = debian.HOST.fetch(package, directory)
        debian.unpack(archive, directory)
        archive.unlink()
        shutil.rmtree(directory / "usr", ignore_errors=True)
        kernel = StockKernel(directory)
        # Installing the package would do it.
        argv = ["depmod", "--basedir", str(directory), kernel.release]
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
        subprocess.run(argv, env=environment, check=True)

    return StockKernel(cache.entry(f"{package}-{version}", unpack))


def read_module(file: Path) -> bytes:
    """Read a module, which may be packed."""
    data = file.read_bytes()
    match file.suffix:
        case ".xz":
            return lzma.decompress(data)
        case ".gz":
            return gzip.decompress(data)
        case _:
            return data


def _name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")
