"""A gateway's clock, by which a client sees that it has lost its mappings (RFC 6887 §8.5)."""

from dataclasses import dataclass
from typing import Final

BACKWARDS: Final = 1.0
"""Seconds that the epoch may go back: answers can be reordered on the way (RFC 6887 §8.5)."""

SLACK: Final = 2.0
"""Seconds that both clocks may differ besides their rates (RFC 6887 §8.5)."""

RATE: Final = 16.0
"""Clocks may differ in rate by one part in sixteen (RFC 6887 §8.5)."""

FRESH: Final = BACKWARDS + SLACK
"""Seconds; a gateway that announces a younger epoch has just started. Where it had started shortly
before, too, the clocks' slack hides that from a comparison."""


def just_started(epoch: float) -> bool:
    """Tell whether a gateway that announces itself does so because it has restarted."""
    return epoch <= FRESH


@dataclass(slots=True)
class Epoch:
    """The last epoch time that a gateway has told, and when."""

    server: float | None = None
    client: float = 0.0

    def continues(self, server: float, now: float) -> bool:
        """Take in an epoch time; false: the gateway has restarted, or forgotten its state.

        RFC 6886 §3.6 asks less (it allows the gateway's clock to be an eighth slow), so that the
        stricter rule serves both: a false alarm costs one request.
        """
        previous, self.server = self.server, server
        elapsed, self.client = now - self.client, now
        if previous is None:
            return True
        if server < previous - BACKWARDS:
            return False
        advanced = server - previous
        return (
            elapsed + SLACK >= advanced - advanced / RATE
            and advanced + SLACK >= elapsed - elapsed / RATE
        )
