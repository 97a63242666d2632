"""The search for a path's width (RFC 8899): exact probes, exact times, no false conclusions."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.path.mtu import (
    CONFIRMATION_TIMER,
    IP_AND_UDP,
    LEAST_PACKET,
    MAX_PROBES,
    PROBE_TIMER,
    RAISE_TIMER,
    STEP,
    MtuSearch,
    Phase,
)

WANTED = 1452
"""Payload of a full packet of WireGuard with an MTU of 1420."""

BASE = {4: 1248, 6: 1232}


@dataclass
class Path:
    """A path of some width whose ordinary checks are answered while it lives."""

    search: MtuSearch
    width: int
    alive: bool = True
    active: bool = False
    now: float = 0.0
    probes: list[tuple[float, int]] = field(default_factory=list)
    answered_at: float = 0.0

    def run(self, until: float) -> None:
        while (due := max(self.now, self.search.next_timeout(active=self.active))) <= until:
            self.now = due
            size = self.search.take_probe(
                due, rtt=0.01, answered_at=self.answered_at, active=self.active
            )
            if size is None:
                continue
            self.probes.append((due, size))
            if self.alive and self.search.retrying:
                self.answered_at = due + 0.001
            if self.alive and size <= self.width:
                self.now = due + 0.01
                self.search.answered(size, self.now)
        self.now = until

    def sizes(self, since: float = 0.0) -> list[int]:
        return [size for at, size in self.probes if at >= since]


def a_path(width: int, version: int = 4, *, relayed: bool = False, wanted: int = WANTED) -> Path:
    return Path(MtuSearch(wanted=wanted, version=version, relayed=relayed), width)


def test_on_a_wide_path_the_first_probe_is_the_last() -> None:
    path = a_path(WANTED)
    path.run(until=3600.0)

    assert path.sizes() == [WANTED]
    assert path.search.phase is Phase.COMPLETE
    assert path.search.limit is None, "nothing is restricted"


@pytest.mark.parametrize("version", [4, 6])
def test_a_path_of_1280_is_found_and_assumed_at_once(version: int) -> None:
    path = a_path(1280 - IP_AND_UDP[version], version)
    path.run(until=(MAX_PROBES - 0.5) * PROBE_TIMER)
    assert path.search.limit is None, "one lost probe is no evidence"

    path.run(until=MAX_PROBES * PROBE_TIMER)
    assert path.search.limit == BASE[version], "assumed before anything else is tried"

    path.run(until=60.0)
    assert path.search.phase is Phase.COMPLETE
    assert path.search.limit == BASE[version]
    assert path.sizes().count(WANTED) == MAX_PROBES
    assert path.sizes().count(BASE[version]) == 1
    assert len(path.probes) <= 1 + 5 * MAX_PROBES


def test_an_idle_path_is_left_alone_after_the_search() -> None:
    path = a_path(1300)
    path.run(until=30.0)
    count = len(path.probes)
    path.run(until=24 * 3600.0)
    assert len(path.probes) == count


@given(st.integers(576 - 28, WANTED), st.sampled_from([4, 6]))
def test_any_width_is_found_to_within_a_step(width: int, version: int) -> None:
    least = LEAST_PACKET[version] - IP_AND_UDP[version]
    width = max(width, least)
    path = a_path(width, version)
    path.run(until=60.0)

    assert path.search.phase is Phase.COMPLETE
    limit = path.search.limit or WANTED
    assert limit <= width, "never more than fits"
    assert width - limit < STEP or width < BASE[version]
    assert len(path.probes) <= 2 * MAX_PROBES + 5 * MAX_PROBES


def test_a_dead_path_is_not_taken_for_a_narrow_one() -> None:
    path = a_path(WANTED)
    path.alive = False
    path.answered_at = -1.0
    path.run(until=30.0)
    assert path.search.limit is None

    path.alive = True
    path.run(until=31.0)
    assert path.search.phase is Phase.COMPLETE
    assert path.search.limit is None


def test_where_padding_is_eaten_the_least_common_size_is_used() -> None:
    path = a_path(0)
    path.run(until=30.0)
    assert path.search.phase is Phase.ERROR
    assert path.search.limit == BASE[4]

    path.active, path.width = True, WANTED
    path.run(until=RAISE_TIMER + 30.0)
    assert path.search.limit is None, "it is tried again for ever"


def test_a_path_that_becomes_narrower_is_noticed_while_data_flows() -> None:
    path = a_path(WANTED)
    path.active = True
    path.run(until=10.0)
    path.width = 1300
    path.run(until=10.0 + CONFIRMATION_TIMER + MAX_PROBES * PROBE_TIMER)
    assert path.search.limit in (BASE[4], 1296), "nothing is swallowed any more"
    path.run(until=30.0)
    assert path.search.limit == 1296


def test_a_path_that_becomes_wider_is_noticed_while_data_flows() -> None:
    path = a_path(1300)
    path.active = True
    path.run(until=10.0)
    path.width = WANTED
    path.run(until=RAISE_TIMER + 10.0)
    assert path.search.limit is None


def test_an_active_path_costs_four_probes_a_minute() -> None:
    path = a_path(WANTED)
    path.active = True
    path.run(until=3600.0)
    assert 239 <= len(path.probes) <= 241


def test_another_path_is_tried_at_once_and_nothing_is_forgotten_meanwhile() -> None:
    path = a_path(1300)
    path.run(until=10.0)
    assert path.search.limit == 1296
    path.search.restart()
    assert path.search.limit == 1296
    path.width = WANTED
    path.run(until=11.0)
    assert path.search.limit is None
    assert path.sizes(since=10.0) == [WANTED]


def test_what_the_host_refuses_needs_no_repetition() -> None:
    search = MtuSearch(wanted=WANTED, version=4, relayed=False)
    tried = []
    while (size := search.take_probe(0.0, rtt=0.01, answered_at=0.0, active=False)) is not None:
        tried.append(size)
        if size > 1372:
            search.refused(size, 0.0)
        else:
            search.answered(size, 0.0)
    assert tried[:2] == [WANTED, BASE[4]]
    assert len(tried) == len(set(tried)), "each size once"
    assert search.limit == 1360


def test_a_relayed_path_is_taken_for_narrow_until_the_contrary_is_proven() -> None:
    path = a_path(WANTED, relayed=True)
    assert path.search.limit == 1216, "1280 less IPv6, UDP and ChannelData, in steps of 16"
    path.run(until=1.0)
    assert path.sizes() == [1448], "1500 less the same: no leg needs fragments"
    assert path.search.limit == 1448


def test_a_size_that_nobody_asked_for_proves_nothing() -> None:
    search = MtuSearch(wanted=WANTED, version=4, relayed=False)
    search.answered(1300, 0.0)
    search.refused(1300, 0.0)
    assert search.limit is None
    assert search.phase is Phase.SEARCHING
