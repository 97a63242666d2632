"""What a failed test leaves behind: enough to see why without running it again."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import LabError

if TYPE_CHECKING:
    from .lab import Lab

COMMANDS: Final = {
    "status.json": ("kbwg", "status", "--json"),
    "wg.txt": ("wg", "show"),
    "ruleset.nft": ("nft", "list", "ruleset"),
    "conntrack.txt": ("conntrack", "-L"),
    "addresses.txt": ("ip", "address"),
    "routes.txt": ("sh", "-c", "ip rule; ip route show table all"),
    "sockets.txt": ("ss", "-anup"),
    "processes.txt": ("ps", "-ef"),
}
"""File name and what is asked of every node."""

SECONDS: Final = 5.0
"""How long a command may take: a node in trouble must not hold up the others."""


def collect(lab: "Lab", directory: Path) -> None:
    """Write logs, captures and the state of every node of a lab."""
    for node in lab.topology.services:
        here = directory / node
        here.mkdir(parents=True, exist_ok=True)
        (here / "log.txt").write_text(lab.logs(node), encoding="utf-8")
        for name, argv in COMMANDS.items():
            if argv[0] != "kbwg" or node in lab.agents:
                (here / name).write_text(_ask(lab, node, argv), encoding="utf-8")
    for path in lab.captures:
        shutil.copy(path, directory / path.name)


def _ask(lab: "Lab", node: str, argv: tuple[str, ...]) -> str:
    try:
        result = lab.exec(node, argv, timeout=SECONDS, check=False)
    except LabError as error:
        return f"{error}\n"
    return result.stdout or result.stderr
