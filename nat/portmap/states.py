"""The states of a `Mapper`: each holds only what exists in it."""

from dataclasses import dataclass

from .mapped import Mapped
from .releasing import Releasing
from .searching import Searching


@dataclass(slots=True)
class Resting:
    """The gateway maps nothing; it is asked again at `until`."""

    until: float

    def next_timeout(self) -> float | None:
        return self.until


@dataclass(slots=True)
class Ended:
    """Nothing is mapped, and nothing will be."""

    def next_timeout(self) -> float | None:
        return None


State = Searching | Mapped | Resting | Releasing | Ended
