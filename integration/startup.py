"""The order in which a topology's services start."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import LabError, LabTimeoutError
from .topology import Condition
from .waiting import POLL_SECONDS, patiently

if TYPE_CHECKING:
    from .lab import Lab


def start_in_order(lab: "Lab", names: Sequence[str], timeout: float) -> None:
    """Start services as soon as what they wait for is there, and wait until all are healthy.

    Raises:
        LabError: a service ended before it was healthy.
        LabTimeoutError: not all were healthy within `timeout` seconds.
    """
    services = lab.topology.services
    deadline = time.monotonic() + patiently(timeout)
    waiting = list(names)
    reached: dict[Condition, set[str]] = {condition: set() for condition in Condition}
    unproven: set[str] = set()
    while waiting or unproven:
        for name in list(waiting):
            depends_on = services[name].depends_on
            if all(other in reached[condition] for other, condition in depends_on.items()):
                lab.start(name)
                waiting.remove(name)
                reached[Condition.STARTED].add(name)
                if services[name].healthcheck is not None:
                    unproven.add(name)
        for name in sorted(unproven):
            if _is_healthy(lab, name):
                reached[Condition.HEALTHY].add(name)
                unproven.remove(name)
            elif not lab.running(name):
                raise LabError(f"{name} ended before it was healthy:\n{lab.last_words(name)}")
            elif time.monotonic() > deadline:
                raise LabTimeoutError(f"{name} does not get healthy:\n{lab.last_words(name)}")
        if unproven:
            # Compose's own interval would make a lab wait for nothing.
            time.sleep(patiently(POLL_SECONDS))


def _is_healthy(lab: "Lab", name: str) -> bool:
    check = lab.topology.services[name].healthcheck
    assert check is not None
    return lab.exec(name, check.argv, check=False).returncode == 0
