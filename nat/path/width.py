"""How wide the selected pair is: runs the search of whichever pair carries the data."""

import math

from .mtu import MtuSearch
from .pair import Pair


class Width:
    """The largest datagram that one peer's path carries; part of a `PathAgent`.

    Args:
        data_size: UDP payload in bytes of the largest packet that the data plane makes; `None`:
            nothing is measured.
    """

    def __init__(self, data_size: int | None) -> None:
        self._data_size = data_size
        self._limit: int | None = None

    @property
    def limit(self) -> int | None:
        """What `moved` has last told: the largest payload in bytes; `None`: what data makes."""
        return self._limit

    def take_probe(self, selected: Pair | None, *, active: bool, now: float) -> int | None:
        """Return the payload size of a probe of the selected pair that is due, if one is."""
        search = self._search(selected)
        if selected is None or search is None:
            return None
        size = search.take_probe(
            now, rtt=selected.rtt or 0.0, answered_at=selected.answered_at, active=active
        )
        if size is not None and search.retrying:
            selected.ask(now)
        return size

    def moved(self, selected: Pair | None) -> bool:
        """Whether the limit is another than it was told to be."""
        if selected is None or selected.mtu is None or selected.mtu.limit == self._limit:
            return False
        self._limit = selected.mtu.limit
        return True

    def next_timeout(self, selected: Pair | None, *, active: bool) -> float:
        """When `take_probe` may next return a size; infinity: not as things are."""
        search = self._search(selected)
        return math.inf if search is None else search.next_timeout(active=active)

    def _search(self, selected: Pair | None) -> MtuSearch | None:
        """Return the search of a pair that works: on one in doubt a lost probe means nothing."""
        if self._data_size is None or selected is None:
            return None
        if not selected.valid or selected.unanswered:
            return None
        if selected.mtu is None:
            selected.mtu = MtuSearch(
                wanted=self._data_size,
                version=selected.key.remote.ip.version,
                relayed=selected.relay_hops > 0,
            )
        return selected.mtu
