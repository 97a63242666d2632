"""What our stateless rules of nftables do to real datagrams, in a network namespace of their own."""

import subprocess
import sys

import pytest

from .conftest import REPOSITORY
from .waiting import patiently

CASES = {"splices": 11, "demultiplexer": 4}
"""Cases of each contract, so that none goes missing unseen."""

SECONDS = 120


@pytest.mark.executors("namespaces", "uml")
@pytest.mark.parametrize("contract", CASES)
def test_rules_keep_their_contract(contract: str) -> None:
    script = 'ip link set lo up && exec "$1" -m "$2"'
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "sh",
            "-c",
            script,
            "sh",
            sys.executable,
            f"tests.contracts.{contract}",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=patiently(SECONDS),
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == CASES[contract]
