"""Orders to the simulator: faults, hostile messages, and looks at what was said.

python -m integration.keybase_simulator.admin [--root DIR] VERB ARGUMENT…

dump                                      the whole world
messages TEAM TOPIC [chat|dev]            everything that a channel holds
say TEAM TOPIC USER/DEVICE TEXT           post as any device
join TEAM TOPIC USER/DEVICE               join a channel, made if there is none
edit TEAM TOPIC USER/DEVICE ID TEXT       edit, delete: also another's message
delete TEAM TOPIC USER/DEVICE ID
delete-history TEAM TOPIC USER/DEVICE ID  everything before ID
gap TEAM TOPIC FIRST LAST                 messages that no read shows
break-reads TEAM TOPIC [TEXT]             every read of the channel fails
least-role TEAM TOPIC ROLE|off            who is below it may not post
ephemeral-policy TEAM TOPIC on|off        texts explode       retention TEAM TOPIC SECONDS|off
service-stop|service-kill|service-start USER/DEVICE
set USER/DEVICE FIELD VALUE               online, logged_in, stalled, deaf, mangled, nulls, kbfs_up:
                                          on or off; rate_limited: calls; kbfs_delay: seconds
rate-limit USER CALLS|off [SECONDS]       so many calls in so many seconds
add-device USER/DEVICE [TYPE]             revoke USER/DEVICE      reset-user USER
role TEAM USER ROLE                       remove-member TEAM USER
file PATH TEXT                            file-remove PATH        file-torn PATH BYTES
file-conflict PATH USER/DEVICE TEXT       a copy beside it
events drop|duplicate|reorder|delay N     hold-events on|off
disorder SHARE [SHARE] [SECONDS]|off      pushes dropped, doubled, late, drawn by SIMULATOR_SEED
latency SECONDS                           clock-skew SECONDS      noise LINE…
"""

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .seed import DEFAULT_ROOT

PATIENCE = 10.0
"""Seconds that an order may take."""


class SimulatorAdmin:
    """The laboratory's hand in the simulated Keybase behind `root`."""

    def __init__(self, root: Path) -> None:
        self._path = root / "admin.sock"

    def order(self, verb: str, *args: Any) -> Any:
        """Give one order; raise `RuntimeError` with the simulator's words if it refuses."""
        return self.orders([(verb, *args)])[0]

    def orders(self, orders: Iterable[Sequence[Any]]) -> list[Any]:
        """Give many orders, one after the other; the first that is refused raises."""
        results = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self._path))
            with connection.makefile("rwb") as stream:
                for verb, *args in orders:
                    stream.write(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
                    stream.flush()
                    answer = json.loads(stream.readline())
                    if "error" in answer:
                        raise RuntimeError(answer["error"])
                    results.append(answer["result"])
        return results

    def stop_service(self, device: str, *, kill: bool = False) -> None:
        """End the Keybase service of `user/device`; `kill`: its dead socket file stays."""
        self.order("service-kill" if kill else "service-stop", device)

    def start_service(self, device: str) -> None:
        """Start it again."""
        self.order("service-start", device)

    def set(self, device: str, field: str, value: Any) -> None:
        """Set a field of a device.

        Args:
            device: `user/device`.
            field: `online`, `logged_in`, `stalled`, `deaf`, `mangled`, `nulls`, `kbfs_up` or
                `revoked`, on or off; `rate_limited`, calls; `kbfs_delay`, seconds.
            value: what it is from now on.
        """
        self.order("set", device, field, value)

    def revoke(self, device: str) -> None:
        """Revoke a device; its own service logs out."""
        self.order("revoke", device)

    def set_role(self, team: str, username: str, role: str) -> None:
        """Change a member's role; `none` removes it."""
        self.order("role", team, username, role)

    def reset_user(self, username: str) -> None:
        """Reset an account: its memberships have status 1."""
        self.order("reset-user", username)

    def post(self, team: str, topic: str, sender: str, body: str, **flags: Any) -> int:
        """Post a text as any device.

        Flags: omit_device_name, omit_username, revoked_device, ephemeral, error, sent_at_ms,
        topic_type, and content, which replaces the text.
        """
        number: int = self.order("post-raw", team, topic, sender, body, flags)
        return number

    def edit(self, team: str, topic: str, sender: str, number: int, body: str) -> int:
        """Edit a message, also another's; returns the edit's id."""
        edit: int = self.order("edit", team, topic, sender, number, body)
        return edit

    def delete(self, team: str, topic: str, sender: str, number: int) -> int:
        """Delete a message, also another's; returns the deletion's id."""
        deletion: int = self.order("delete", team, topic, sender, number)
        return deletion

    def events(self, fault: str, amount: float) -> None:
        """Let the next pushes `drop`, `duplicate` or `reorder`, or all `delay` by seconds."""
        self.order("events", fault, amount)

    def write_file(self, path: str, content: str) -> None:
        """Replace a file of KBFS, seen by all at once."""
        self.order("file", path, content)

    def messages(self, team: str, topic: str, kind: str = "") -> list[dict[str, Any]]:
        """Return everything that a channel holds; `kind`: `chat`, `dev`, or whichever there is."""
        found: list[dict[str, Any]] = self.order("messages", team, topic, kind)
        return found


def main() -> None:
    """Give one order from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
