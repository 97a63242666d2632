"""Waiting for something that a lab does in its own time."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from .errors import CommandError, LabTimeoutError

T = TypeVar("T")

POLL_SECONDS: Final = 0.02
"""How often a condition is looked at: short against the times that tests assert."""

_patience = 1.0


def be_patient(factor: float) -> None:
    """Take all waiting times by a factor, where an emulated processor makes everything slow."""
    global _patience
    _patience = factor


def patiently(seconds: float) -> float:
    """Give a waiting time as it is where this process runs."""
    return seconds * _patience


def wait_for(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """Wait until a predicate gives something true, and return that.

    A command that fails meanwhile counts as not yet.

    Raises:
        LabTimeoutError: it did not within `timeout` seconds; `what` says what was awaited.
    """
    timeout = patiently(timeout)
    deadline = time.monotonic() + timeout
    while True:
        try:
            if value := predicate():
                return value
            last = repr(value)
        except CommandError as error:
            last = str(error)
        if time.monotonic() > deadline:
            raise LabTimeoutError(f"after {timeout:g} s still not: {what} (last: {last[:2000]})")
        time.sleep(patiently(POLL_SECONDS))
