"""The image is built from the lock alone: it must hold all that the agent needs."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINNED = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", LOCK, flags=re.MULTILINE))


@pytest.mark.parametrize("text", PROJECT["dependencies"])
def test_each_dependency_is_locked_at_a_version_that_the_project_accepts(text: str) -> None:
    requirement = Requirement(text)

    assert requirement.name in PINNED, "run `make lock`"
    assert requirement.specifier.contains(PINNED[requirement.name]), "run `make lock`"


def test_every_locked_package_is_bound_to_the_hashes_of_its_files() -> None:
    entries = re.split(r"^(?=[a-z0-9-]+==)", LOCK, flags=re.MULTILINE)[1:]

    assert len(entries) == len(PINNED) > len(PROJECT["dependencies"])
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]
