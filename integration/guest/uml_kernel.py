"""The User-Mode Linux kernel: built once from the source that Debian builds its own kernel from."""

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
    package = debian.dependency("linux-source")
    version = debian.version(package)
    content = hashlib.sha256(CONFIG.read_bytes() + RECIPE.read_bytes()).hexdigest()[:12]

    def build(directory: Path) -> None:
        began = time.monotonic()
        say(f"building {package} {version} for User-Mode Linux: about 5 minutes, once")
        _build(package, directory)
        say(f"built in {time.monotonic() - began:.0f} s")

    return cache.entry(f"uml-{version}-{content}", build) / _NAME


def _build(package: str, directory: Path) -> None:
    source = debian.fetch(package, directory)
    work = directory / "work"
    work.mkdir()
    try:
        subprocess.run(
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


def _remove(tree: Path) -> None:
    # 70,000 files, which rm removes in a tenth of the time.
    subprocess.run(["rm", "-rf", tree], check=True)
