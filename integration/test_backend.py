"""The back ends' contract on the real thing, each case in a network namespace of its own."""

import subprocess
import sys

import pytest

from .conftest import REPOSITORY
from .waiting import patiently

CASES = 16
"""Cases of the contract, so that none goes missing unseen."""

CONTRACT_SECONDS = 100
"""For all cases together."""


def test_wireguard_go_keeps_the_contract() -> None:
    _keeps_contract("userspace")


@pytest.mark.executors("qemu", "uml")
def test_the_kernel_keeps_the_contract() -> None:
    _keeps_contract("kernel")


def _keeps_contract(name: str) -> None:
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", SCRIPT, "sh", sys.executable, name],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=patiently(CONTRACT_SECONDS),
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == CASES


SCRIPT = (
    "ip link set lo up && mkdir -p /var/run/wireguard && mount -t tmpfs none /var/run/wireguard && "
    'exec env PATH="$PWD/.tools/bin:$PATH" "$1" -m tests.contracts "$2"'
)
