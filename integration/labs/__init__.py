"""Executors: each runs a topology in its own way; `integration.lab.Lab` is the same over all."""

from typing import Final, Literal, get_args

from ..topology import Topology
from . import docker, namespaces, state
from .executor import Executor
from .state import LabState

ExecutorName = Literal["namespaces", "docker"]

EXECUTORS: Final[tuple[ExecutorName, ...]] = get_args(ExecutorName)


def executor(name: ExecutorName, topology: Topology, lab: LabState) -> Executor:
    """Return an executor for a lab."""
    match name:
        case "namespaces":
            return namespaces.Namespaces(topology, lab)
        case "docker":
            return docker.Docker(topology, lab)


def destroy(name: str) -> None:
    """Remove a lab whatever runs it, also one that broke off half-way; harmless if there is none.

    Raises:
        LabError: something of it cannot be removed.
    """
    if name in docker.names():
        docker.destroy(name)
    namespaces.destroy(name)


def names() -> list[str]:
    """List the labs that are up, or of which something was left when they broke."""
    return sorted(docker.names() | namespaces.names() | set(state.names()))
