"""What a running lab leaves on disk, so that another process can use it and clear it away.

/run/kbwg-lab/NAME/topology.yaml     the file as it was read
                   lab.json          its variables, and who owns the lab
                   nodes/NODE.json   the node's first process and its main one
                   logs/NODE.log     output of the main process, over all its starts
                   volumes/VOLUME/   named volumes
                   captures/         packets
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import LabError
from .processes import Process

ROOT: Final = Path("/run/kbwg-lab")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """The processes of a node."""

    first: Process
    """Keeps the node's namespaces alive; when it dies all processes of the node do."""

    main: Process | None
    """What the topology says that the node runs; `None` before its first start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRecord:
    """Everything needed to read the lab's topology again."""

    source: str
    """Name of the compose file."""

    variables: Mapping[str, str] = field(default_factory=dict)

    owner: Process | None = None
    """The process that will end the lab; `None`: it stays until somebody says so."""

    executor: str = "namespaces"
    """What runs it."""


class LabState:
    """The directory of one lab.

    Raises:
        LabError: the name cannot be that of a lab.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise LabError(f"a lab's name is 1 to 24 of a-z, 0-9 and -, not {name!r}")
        self.name = name
        self.path = ROOT / name
        self.logs = self.path / "logs"
        self.volumes = self.path / "volumes"
        self.captures = self.path / "captures"

    def create(self, topology_text: str, record: LabRecord) -> None:
        """Make the directory.

        Raises:
            LabError: there is one: a lab of that name is up.
        """
        ROOT.mkdir(mode=0o755, exist_ok=True)
        try:
            self.path.mkdir()
        except FileExistsError:
            raise LabError(
                f"a lab {self.name} is up; end it by `python -m integration --lab {self.name} down`"
            ) from None
        for directory in (self.logs, self.volumes, self.captures, self.path / "nodes"):
            directory.mkdir()
        (self.path / "topology.yaml").write_text(topology_text, encoding="utf-8")
        _write(
            self.path / "lab.json",
            {
                "source": record.source,
                "variables": dict(record.variables),
                "owner": _pair(record.owner),
                "executor": record.executor,
            },
        )

    def load(self) -> tuple[str, LabRecord]:
        """Read the text of the topology and how to read it.

        Raises:
            LabError: no such lab is up, or its start was broken off.
        """
        try:
            text = (self.path / "topology.yaml").read_text(encoding="utf-8")
            content = json.loads((self.path / "lab.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LabError(f"no lab {self.name} is up") from None
        owner = content["owner"]
        return text, LabRecord(
            source=content["source"],
            variables=content["variables"],
            owner=Process(*owner) if owner else None,
            executor=content.get("executor", "namespaces"),
        )

    def save_node(self, node: str, record: NodeRecord) -> None:
        content = {"first": _pair(record.first), "main": _pair(record.main)}
        _write(self.path / "nodes" / f"{node}.json", content)

    def node(self, node: str) -> NodeRecord:
        """Look up the processes of a node.

        Raises:
            LabError: the node was never made.
        """
        try:
            text = (self.path / "nodes" / f"{node}.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise LabError(f"the lab {self.name} has no node {node}") from None
        content = json.loads(text)
        main = content["main"]
        return NodeRecord(Process(*content["first"]), Process(*main) if main else None)

    def log(self, node: str) -> Path:
        return self.logs / f"{node}.log"

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            ROOT.rmdir()
        except OSError:
            # Other labs are up, or none ever was.
            return


def names() -> list[str]:
    """List the labs that are up, or were when something broke."""
    if not ROOT.is_dir():
        return []
    return sorted(entry.name for entry in ROOT.iterdir() if _NAME.fullmatch(entry.name))


def _pair(process: Process | None) -> tuple[int, int] | None:
    return (process.pid, process.started) if process else None


def _write(path: Path, content: object) -> None:
    """Replace a file in one step: a reader sees the old or the new one."""
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)
