"""Recording a node's packets."""

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import LabError

if TYPE_CHECKING:
    from .lab import Lab


class Capture:
    """A tcpdump in a node.

    Raises:
        LabError: tcpdump does not start; holds what it said.
    """

    def __init__(self, lab: "Lab", node: str, expression: str, path: Path) -> None:
        self.path = path
        # A node cannot write outside of itself: the file is opened here.
        argv = ["tcpdump", "--immediate-mode", "-U", "-n", "-i", "any", "-w", "-", expression]
        self._process = lab.popen(node, [word for word in argv if word], stdout=path)
        assert self._process.stderr is not None
        said = ""
        while "listening on" not in said:
            line = self._process.stderr.readline()
            said += line
            if not line:
                self._process.communicate()
                raise LabError(f"cannot capture on {node}: {said.strip()}")

    def stop(self) -> Path:
        """End the recording and give its file."""
        self._process.terminate()
        self._process.communicate()
        return self.path
