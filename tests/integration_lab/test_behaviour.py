"""NAT behaviour and the variables that name it."""

from itertools import product

import pytest

from integration.behaviour import Filtering, Hairpinning, Input, Mapping, Nat, Udp
from integration.errors import TopologyError


def test_without_variables_a_router_is_what_most_homes_have() -> None:
    assert Nat.from_environment({}) == Nat(
        mapping=Mapping.ENDPOINT_INDEPENDENT,
        filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
        hairpinning=Hairpinning.OFF,
        input=Input.DROP,
        udp=Udp.OPEN,
    )


def test_every_behaviour_survives_its_variables() -> None:
    for mapping, filtering, hairpinning, unsolicited, udp in product(
        Mapping, Filtering, Hairpinning, Input, Udp
    ):
        nat = Nat(
            mapping=mapping,
            filtering=filtering,
            hairpinning=hairpinning,
            input=unsolicited,
            udp=udp,
        )
        assert Nat.from_environment(nat.settings("NAT")) == nat


def test_a_value_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(TopologyError, match="NAT_INPUT is one of drop, accept, not 'reject'"):
        Nat.from_environment({"NAT_INPUT": "reject"})


def test_an_empty_variable_is_the_default() -> None:
    assert Nat.from_environment({"NAT_MAPPING": ""}) == Nat()
