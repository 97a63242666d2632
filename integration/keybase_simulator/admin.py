"""Orders to the simulator: faults, hostile messages, and looks at what was said.

python -m integration.keybase_simulator.admin [--root DIR] VERB ARGUMENT…
"""

import argparse
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from .server import DEFAULT_ROOT


class SimulatorAdmin:
    """The laboratory's hand in the simulated Keybase behind `root`."""

    def __init__(self, root: Path) -> None:
        self._path = root / "admin.sock"

    def order(self, verb: str, *args: Any) -> Any:
        """Give one order; raise `RuntimeError` with the simulator's words if it refuses."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self._path))
            stream = connection.makefile("rwb")
            stream.write(json.dumps({"verb": verb, "args": list(args)}).encode() + b"\n")
            stream.flush()
            answer = json.loads(stream.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def stop_service(self, device: str) -> None:
        """End the Keybase service of `user/device`."""
        self.order("service-stop", device)

    def start_service(self, device: str) -> None:
        """Start it again."""
        self.order("service-start", device)

    def set(self, device: str, field: str, value: Any) -> None:
        """Set `kbfs_up`, `online`, `logged_in`, `revoked` or `rate_limited` of a device."""
        self.order("set", device, field, value)

    def set_role(self, team: str, username: str, role: str) -> None:
        """Change a member's role; `none` removes it."""
        self.order("role", team, username, role)

    def post(self, team: str, topic: str, sender: str, body: str, **flags: Any) -> int:
        """Post a text as any device; flags: omit_device_name, ephemeral, error, sent_at_ms."""
        number: int = self.order("post-raw", team, topic, sender, body, flags)
        return number

    def write_file(self, path: str, content: str) -> None:
        """Replace a file of KBFS, seen by all at once."""
        self.order("file", path, content)

    def messages(self, team: str, topic: str) -> list[dict[str, Any]]:
        """Return everything that a channel holds."""
        found: list[dict[str, Any]] = self.order("messages", team, topic)
        return found


def main() -> None:
    """Give one order from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path(os.environ.get("SIMULATOR_ROOT", DEFAULT_ROOT))
    )
    parser.add_argument("verb")
    parser.add_argument("args", nargs="*")
    options = parser.parse_args()
    try:
        result = SimulatorAdmin(options.root).order(options.verb, *options.args)
    except (RuntimeError, OSError) as error:
        sys.exit(f"simulator: {error}")
    if result is not None:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
