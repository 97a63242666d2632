"""Host routes as values: what is wanted, what is there, and the difference."""

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from nat.machine import IPAddress
from sidecar.wireguard.routes import (
    Flow,
    HostRoute,
    PutRoute,
    RemoveRoute,
    RoutePolicy,
    diff,
    sources,
)

FIRST, SECOND = ip_address("10.1.0.1"), ip_address("10.2.0.1")
FAR, OTHER = ip_address("203.0.113.5"), ip_address("203.0.113.6")
NONE: frozenset[IPAddress] = frozenset()


def by_second(remote: IPAddress, gateway: str = "10.2.0.254") -> HostRoute:
    return HostRoute(remote, SECOND, 3, ip_address(gateway))


def test_a_flow_that_the_usual_lookup_serves_needs_no_route() -> None:
    assert diff({FAR: None}, (), frozenset({FAR})) == []


def test_a_flow_by_another_uplink_gets_a_route() -> None:
    assert diff({FAR: by_second(FAR)}, (), NONE) == [PutRoute(by_second(FAR))]


def test_a_route_that_stands_is_left_alone() -> None:
    assert diff({FAR: by_second(FAR)}, [by_second(FAR)], NONE) == []


def test_another_gateway_replaces_a_route_in_one_step() -> None:
    changed = by_second(FAR, "10.2.0.253")

    assert diff({FAR: changed}, [by_second(FAR)], NONE) == [PutRoute(changed)]


def test_a_route_goes_when_the_path_is_the_usual_one_again() -> None:
    assert diff({FAR: None}, [by_second(FAR)], frozenset({FAR})) == [RemoveRoute(by_second(FAR))]


def test_a_route_goes_only_when_wireguard_sends_elsewhere() -> None:
    wanted = {OTHER: by_second(OTHER)}
    actual = [by_second(FAR), by_second(OTHER)]

    assert diff(wanted, actual, frozenset({FAR})) == []
    assert diff(wanted, actual, frozenset({OTHER})) == [RemoveRoute(by_second(FAR))]


def test_after_a_restart_the_routes_of_live_tunnels_stay() -> None:
    assert diff({}, [by_second(FAR)], frozenset({FAR})) == []


def test_peers_behind_one_address_share_the_uplink_and_the_first_decides() -> None:
    flows = [Flow(SECOND, FAR), Flow(FIRST, FAR), Flow(FIRST, OTHER)]

    assert sources(flows) == {FAR: SECOND, OTHER: FIRST}


def test_teams_with_one_mark_have_tables_of_their_own() -> None:
    tables = {RoutePolicy(mark, port, 90).table for mark in (0, 7) for port in (20000, 20001)}

    assert len(tables) == 4
    assert min(tables) > 255, "the first numbers are the system's"
    assert max(tables) < 2**32


REMOTES = st.sampled_from([FAR, OTHER, ip_address("2001:db8::5")])
ROUTES = st.builds(
    HostRoute,
    remote=REMOTES,
    source=st.sampled_from([FIRST, SECOND]),
    interface=st.integers(1, 3),
    gateway=st.none(),
)


@given(
    wanted=st.dictionaries(REMOTES, st.none() | ROUTES),
    actual=st.lists(ROUTES, unique_by=lambda route: route.remote),
    in_use=st.frozensets(REMOTES),
)
def test_what_was_changed_needs_no_further_change(
    wanted: dict[IPAddress, HostRoute | None], actual: list[HostRoute], in_use: frozenset[IPAddress]
) -> None:
    wanted = {far: route and replace(route, remote=far) for far, route in wanted.items()}
    table = {route.remote: route for route in actual}
    for change in diff(wanted, actual, in_use):
        match change:
            case PutRoute(route):
                table[route.remote] = route
            case RemoveRoute(route):
                assert table.pop(route.remote) == route

    assert diff(wanted, table.values(), in_use) == []
    for far, expected in wanted.items():
        assert table.get(far) == expected
