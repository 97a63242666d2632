"""The User-Mode Linux kernel: built once from the source that Debian builds its own from."""

import hashlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import LabError
from . import cache, debian

_HERE: Final = Path(__file__).parent
CONFIG: Final = _HERE / "uml.config"
RECIPE: Final = _HERE / "build_uml.sh"

SUITE: Final = "trixie-backports"
"""Since Linux 6.16 the programs of a User-Mode Linux run without ptrace (`seccomp`): they start three
times as fast as on the kernels of Debian 12 and 13."""

BUILD_SECONDS: Final = 3600.0
"""Limit of a build: 5 minutes with two cores of its own, many times that beside other work."""

_NAME: Final = "linux"


def provide(say: Callable[[str], None]) -> Path:
    """Find the kernel in the cache, or build it.

    Args:
        say: is told what takes long.

    Raises:
        LabError: the source cannot be fetched, or not be built.
    """
    archive = debian.suite(SUITE)
    try:
        name, package = _current(archive)
    except LabError as error:
        say(f"no kernel of {SUITE}, the host's own serves, three times slower: {error}")
        archive = debian.HOST
        name, package = _current(archive)

    def build(directory: Path) -> None:
        began = time.monotonic()
        say(f"building {name} from {package}: about 5 minutes, once")
        warnings = _build(archive, package, directory)
        if warnings:
            say(warnings)
        say(f"built in {time.monotonic() - began:.0f} s")

    return cache.entry(name, build) / _NAME


def _current(archive: debian.Archive) -> tuple[str, str]:
    """Name the kernel that is in the cache already, or the one that can be fetched."""
    name, package = _newest(archive)
    if not cache.has(name):
        # What the lists name may be gone from the mirror.
        archive.update()
        name, package = _newest(archive)
    return name, package


def _newest(archive: debian.Archive) -> tuple[str, str]:
    """Name the kernel by all that it depends on, and the package of its source."""
    package = archive.dependency("linux-source")
    content = hashlib.sha256(CONFIG.read_bytes() + RECIPE.read_bytes()).hexdigest()[:12]
    return f"uml-{archive.version(package)}-{content}", package


def _build(archive: debian.Archive, package: str, directory: Path) -> str:
    source = archive.fetch(package, directory)
    work = directory / "work"
    work.mkdir()
    try:
        done = subprocess.run(
            [RECIPE, source, CONFIG, directory / _NAME],
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise LabError(f"building {package}: {error.stderr.strip()}") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"building {package}: not done after {BUILD_SECONDS:g} s") from None
    source.unlink()
    _remove(work)
    return done.stderr.strip()


def _remove(tree: Path) -> None:
    # 70,000 files, which rm removes in a tenth of the time.
    subprocess.run(["rm", "-rf", tree], check=True)
