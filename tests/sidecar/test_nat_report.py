"""A NAT in the status document, in the hint to peers, and in plain words."""

from datetime import UTC, datetime

import pytest

from nat.stun.behaviour import BehaviourFound, ServerAnswer
from nat.stun.nat_behaviour import FilteringBehaviour, MappingBehaviour, NatBehaviour
from sidecar.nat_report import describe_nat, describe_server, explain, hint_of
from sidecar.status import NatStatus

from ..support.network import endpoint

AT = datetime(2026, 1, 1, tzinfo=UTC)
EIM, APDM = MappingBehaviour.ENDPOINT_INDEPENDENT, MappingBehaviour.ADDRESS_AND_PORT_DEPENDENT
BASE = endpoint("192.168.1.2", 20000)


def status_of(mapping: MappingBehaviour, filtering: FilteringBehaviour) -> NatStatus:
    return describe_nat(BehaviourFound(BASE, NatBehaviour(mapping, filtering), ()), AT)


def test_everything_that_was_found_is_in_the_status() -> None:
    behaviour = NatBehaviour(
        EIM, FilteringBehaviour.ADDRESS_DEPENDENT, True, False, endpoint("203.0.113.1").ip
    )

    assert describe_nat(BehaviourFound(BASE, behaviour, ()), AT) == NatStatus(
        address="192.168.1.2",
        mapping="endpoint-independent",
        filtering="address-dependent",
        hairpinning=True,
        port_preservation=False,
        public_address="203.0.113.1",
        tested=AT,
    )


def test_a_server_s_answer_has_its_round_trip_in_milliseconds() -> None:
    answer = ServerAnswer(endpoint("203.0.113.1", 3478), endpoint("198.51.100.7", 9), 0.01234, True)

    found = describe_server(answer)

    assert (found.server, found.mapped, found.rtt_ms, found.rfc5780) == (
        "203.0.113.1:3478",
        "198.51.100.7:9",
        12.3,
        True,
    )


@pytest.mark.parametrize("mapping", list(MappingBehaviour))
@pytest.mark.parametrize("filtering", list(FilteringBehaviour))
def test_every_nat_has_a_sentence(mapping: MappingBehaviour, filtering: FilteringBehaviour) -> None:
    assert explain(status_of(mapping, filtering), mapped=False).endswith((".", "!"))


def test_a_port_mapping_matters_more_than_the_nat() -> None:
    nat = status_of(APDM, FilteringBehaviour.ADDRESS_AND_PORT_DEPENDENT)

    assert "symmetric" in explain(nat, mapped=False)
    assert "reaches this host directly" in explain(nat, mapped=True)


def test_peers_are_told_what_is_known() -> None:
    hint = hint_of(NatBehaviour(EIM, FilteringBehaviour.ADDRESS_DEPENDENT), varies=False)

    assert hint is not None
    assert (hint.mapping, hint.filtering) == ("endpoint-independent", "address-dependent")
    assert not hint.mapping_varies


@pytest.mark.parametrize("behaviour", [None, NatBehaviour()])
def test_what_is_not_known_is_not_told(behaviour: NatBehaviour | None) -> None:
    assert hint_of(behaviour, varies=False) is None


@pytest.mark.parametrize(
    "behaviour", [None, NatBehaviour(), NatBehaviour(EIM, FilteringBehaviour.UNKNOWN)]
)
def test_what_servers_see_of_our_own_port_outranks_the_discovery(
    behaviour: NatBehaviour | None,
) -> None:
    hint = hint_of(behaviour, varies=True)

    assert hint is not None
    assert hint.mapping_varies


def test_the_discovery_tells_which_mapping_varies() -> None:
    hint = hint_of(NatBehaviour(MappingBehaviour.ADDRESS_DEPENDENT), varies=True)

    assert hint is not None
    assert hint.mapping == "address-dependent"
