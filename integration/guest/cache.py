"""What is fetched or built once and kept outside of the checkout."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

_NAME: Final = "kbwg"


def directory() -> Path:
    """Find the cache, as the XDG base directory specification says."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / _NAME


def has(name: str) -> bool:
    """Say whether an entry was made."""
    return (directory() / name).exists()


def entry(name: str, make: Callable[[Path], None]) -> Path:
    """Find an entry, a directory, or make it: whole, and once for all who ask at the same time.

    Args:
        name: all that its content depends on.
        make: fills a directory; whatever it raises leaves no entry.
    """
    cache = directory()
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / name
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = cache / f"{name}.unfinished"
            # Whoever left it was killed: the lock is ours.
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                make(unfinished)
                unfinished.rename(made)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return made
