"""The back ends' contract on the real thing, each case in a network namespace of its own."""

import subprocess
import sys

from .conftest import REPOSITORY

CASES = 16
"""Cases of the contract, so that none goes missing unseen."""


def test_wireguard_go_keeps_the_contract() -> None:
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", SCRIPT, "sh", sys.executable, "userspace"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == CASES


SCRIPT = (
    "ip link set lo up && mkdir -p /var/run/wireguard && mount -t tmpfs none /var/run/wireguard && "
    'exec env PATH="$PWD/.tools/bin:$PATH" "$1" -m tests.contracts "$2"'
)
