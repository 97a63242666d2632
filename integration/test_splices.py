"""Splices on real datagrams, in a network namespace of their own."""

import subprocess
import sys

import pytest

from .conftest import REPOSITORY
from .waiting import patiently

CASES = 11
"""Cases of the contract, so that none goes missing unseen."""


SECONDS = 120


@pytest.mark.executors("namespaces", "uml")
def test_splices_keep_their_contract() -> None:
    script = 'ip link set lo up && exec "$1" -m tests.contracts.splices'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", sys.executable],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=patiently(SECONDS),
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == CASES
