"""Where a device's programs find the simulated Keybase.

python -m integration.keybase_simulator.paths ROOT USER/DEVICE     prints it for a shell's `eval`
"""

import os
import shlex
import sys
from pathlib import Path

BIN = Path(__file__).resolve().parent / "bin"
"""Directory of the `keybase` executable."""

KEYBASE = BIN / "keybase"


def socket_path(root: Path, device: str) -> Path:
    """Return the socket of the service of `user/device`."""
    return root / device / "keybased.sock"


def environment(root: Path, device: str, path: str | None = None) -> dict[str, str]:
    """Return the environment that a program of `user/device` needs beside its own.

    The executable's directory goes in front of the search path `path`, which is ours by default.
    """
    search = os.environ.get("PATH", os.defpath) if path is None else path
    return {
        "KEYBASE_SOCKET_FILE": str(socket_path(root, device)),
        "KEYBASE_ALLOW_ROOT": "1",
        "PATH": f"{BIN}{os.pathsep}{search}",
    }


if __name__ == "__main__":
    for name, value in environment(Path(sys.argv[1]), sys.argv[2]).items():
        print(f"export {name}={shlex.quote(value)}")
