"""Debian packages that are looked into without being installed."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import LabError

FETCH_SECONDS: Final = 300.0
"""For 140 MB on a slow line; a mirror that hangs must not hold up a test run for ever."""

_DEPENDS: Final = re.compile(r"^\s*Depends: (\S+)$", re.MULTILINE)
_CANDIDATE: Final = re.compile(r"^\s*Candidate: (\d\S*)$", re.MULTILINE)


def dependency(package: str) -> str:
    """Find what a package stands for, as `linux-source` does for that of a version.

    Raises:
        LabError: apt knows no such package.
    """
    if not _candidate(package):
        _run(["apt-get", "-qq", "update"], "reading the lists of packages")
    found = _DEPENDS.search(_run(["apt-cache", "depends", package], f"looking for {package}"))
    if found is None:
        raise LabError(f"apt knows no package {package}: does it have Debian's own repository?")
    return found[1]


def version(package: str) -> str:
    """Find the version that would be fetched.

    Raises:
        LabError: apt knows no such package.
    """
    candidate = _candidate(package)
    if candidate is None:
        raise LabError(f"apt knows no package {package}: does it have Debian's own repository?")
    return candidate


def fetch(package: str, directory: Path) -> Path:
    """Fetch a package into a directory; apt checks its signature.

    Raises:
        LabError: it cannot be fetched; says what apt said.
    """
    # Not as apt's own user: it may not write where we do.
    argv = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
    _run(argv, f"fetching {package}", directory)
    return next(directory.glob(f"{package}_*.deb"))


def unpack(package: Path, directory: Path) -> None:
    """Unpack a package's files.

    Raises:
        LabError: it is no package.
    """
    _run(["dpkg", "-x", str(package), str(directory)], f"unpacking {package.name}")


def _candidate(package: str) -> str | None:
    found = _CANDIDATE.search(_run(["apt-cache", "policy", package], f"looking for {package}"))
    return None if found is None else found[1]


def _run(argv: Sequence[str], doing: str, directory: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv,
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{doing}: no program {argv[0]}; guests need Debian's packages") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{doing}: not done after {FETCH_SECONDS:g} s") from None
    if done.returncode:
        raise LabError(f"{doing}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
