"""What a way of running topologies must be able to do, so that `Lab` is the same over all."""

import subprocess
from pathlib import Path
from typing import Protocol

from .processes import Process


class Executor(Protocol):
    """The nodes of one lab.

    A node has a main process, which the topology names, and lets other commands in beside it.
    """

    def create(self) -> None:
        """Make networks, volumes and nodes; no main process runs yet.

        Raises:
            LabError: something is missing on this machine; `destroy` clears away what was made.
        """

    def command(self, node: str, argv: list[str]) -> list[str]:
        """Wrap a command so that it runs in a node, as its only child.

        Raises:
            LabError: there is no such node, or it is gone.
        """

    def environment(self, node: str) -> dict[str, str]:
        """Give what a process in a node finds in its environment."""

    def path(self, node: str, path: str) -> Path:
        """Find a node's file from outside of the node."""

    def volume(self, name: str) -> Path:
        """Find the directory of a named volume."""

    def start(self, node: str) -> "subprocess.Popen[bytes]":
        """Start a node's main process; what is returned ends with it and has its exit status.

        Raises:
            LabError: it runs already, or cannot be run.
        """

    def main(self, node: str) -> Process | None:
        """Find a node's main process; `None`: it does not run."""

    def set_link(self, node: str, network: str, *, up: bool) -> None:
        """Plug a node's cable in or out; it sees its carrier come and go."""

    def destroy(self) -> None:
        """Remove all that the lab made; harmless when it is gone."""
