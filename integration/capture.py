"""Recording a node's packets."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import LabError

if TYPE_CHECKING:
    from .lab import Lab

SETTLE_SECONDS: Final = 0.25
"""A recording that has not grown for so long holds all packets so far."""

MAX_SETTLE_SECONDS: Final = 2.0
"""Not to be kept waiting by traffic that never pauses."""


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
        # On a signal tcpdump leaves behind what waits for it in the kernel.
        deadline = time.monotonic() + MAX_SETTLE_SECONDS
        size = -1
        while size != self.path.stat().st_size and time.monotonic() < deadline:
            size = self.path.stat().st_size
            time.sleep(SETTLE_SECONDS)
        self._process.terminate()
        self._process.communicate()
        return self.path
