"""Debian packages that are looked into without being installed."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import LabError
from . import cache

FETCH_SECONDS: Final = 300.0
"""For 170 MB on a slow line; a mirror that hangs must not hold up a test run for ever."""

_KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_DEPENDS: Final = re.compile(r"^\s*Depends: (\S+)$", re.MULTILINE)
_CANDIDATE: Final = re.compile(r"^\s*Candidate: (\d\S*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Archive:
    """Packages as apt knows them; it checks their signatures."""

    options: Sequence[str] = ()
    """Of apt, with which it reads other sources than the host's own."""

    def update(self) -> None:
        """Read the lists of packages anew.

        Raises:
            LabError: the mirror does not answer.
        """
        _run(["apt-get", "-qq", *self.options, "update"], "reading the lists of packages")

    def dependency(self, package: str) -> str:
        """Find what a package stands for, as `linux-source` does for that of a version.

        Raises:
            LabError: apt knows no such package.
        """
        if not self._candidate(package):
            self.update()
        depends = ["apt-cache", *self.options, "depends", package]
        found = _DEPENDS.search(_run(depends, f"looking for {package}"))
        if found is None:
            raise _unknown(package)
        return found[1]

    def version(self, package: str) -> str:
        """Find the version that would be fetched.

        Raises:
            LabError: apt knows no such package.
        """
        candidate = self._candidate(package)
        if candidate is None:
            raise _unknown(package)
        return candidate

    def fetch(self, package: str, directory: Path) -> Path:
        """Fetch a package into a directory.

        Raises:
            LabError: it cannot be fetched; says what apt said.
        """
        # Not as apt's own user: it may not write where we do.
        options = ["-o", "APT::Sandbox::User=root", *self.options]
        argv = ["apt-get", "-q", *options, "download", package]
        _run(argv, f"fetching {package}", directory)
        return next(directory.glob(f"{package}_*.deb"))

    def _candidate(self, package: str) -> str | None:
        argv = ["apt-cache", *self.options, "policy", package]
        found = _CANDIDATE.search(_run(argv, f"looking for {package}"))
        return None if found is None else found[1]


HOST: Final = Archive()
"""What the host itself installs from."""


def suite(name: str) -> Archive:
    """Read another suite from the host's mirror; the host's own lists stay as they are.

    Raises:
        LabError: the host's apt has no mirror of Debian.
    """
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    asked += ["Created-By: Packages", "Origin: Debian", "Label: Debian"]
    mirrors = _run(asked, "looking for a mirror").split()
    if not mirrors:
        HOST.update()
        mirrors = _run(asked, "looking for a mirror").split()
    if not mirrors:
        raise LabError("apt knows no mirror of Debian; guests need Debian's packages")
    here = cache.directory() / f"apt-{name}"
    for directory in ("lists/partial", "cache/archives/partial"):
        (here / directory).mkdir(parents=True, exist_ok=True)
    sources = here / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYS}] {mirrors[0]} {name} main\n", encoding="ascii")
    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": here / "lists",
        "Dir::Cache": here / "cache",
        "APT::Sandbox::User": "root",
        "APT::Default-Release": "",
    }
    return Archive([word for key, value in settings.items() for word in ("-o", f"{key}={value}")])


def unpack(package: Path, directory: Path) -> None:
    """Unpack a package's files.

    Raises:
        LabError: it is no package.
    """
    _run(["dpkg", "-x", str(package), str(directory)], f"unpacking {package.name}")


def _unknown(package: str) -> LabError:
    return LabError(f"apt knows no package {package}: does it have Debian's own repository?")


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
