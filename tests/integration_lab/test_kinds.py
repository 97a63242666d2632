"""The rows and columns of the NAT grid."""

from pathlib import Path

import pytest

from integration import compose_file
from integration.behaviour import Filtering, Mapping, Nat, Udp
from integration.errors import LabError
from integration.kinds import KINDS, cells, parse_cell

PAIR = Path(__file__).parents[2] / "compose" / "pair.yaml"


def test_there_are_66_pairs_of_11_kinds() -> None:
    names = [str(cell) for cell in cells()]
    assert len(KINDS) == 11
    assert len(set(names)) == len(names) == 66


@pytest.mark.parametrize("text", ["MQ:CG(MQ:SY)", "CG(SY:FC):PUB", "ub:ub"])
def test_a_cell_is_read_as_it_is_written(text: str) -> None:
    assert str(parse_cell(text)) == text.upper()


@pytest.mark.parametrize("text", ["", "MQ", "MQ:XX", "MQ:SY:FC", "CG(MQ:MQ)", "MQ:CG(FC:FC)"])
def test_what_is_no_cell_is_refused_with_all_kinds(text: str) -> None:
    with pytest.raises(LabError, match="CG\\(SY:FC\\)"):
        parse_cell(text)


def test_two_routers_amount_to_the_stricter_of_each_behaviour() -> None:
    assert KINDS["CG(SY:FC)"].nat == Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)
    assert KINDS["CG(MQ:MQ)"].nat == Nat()


def test_a_host_firewall_filters_as_a_router_does() -> None:
    filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    assert KINDS["FW"].nat == Nat(mapping=Mapping.NONE, filtering=filtering)
    assert KINDS["UB"].nat.udp is Udp.BLOCKED


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_the_file_knows_every_variable_of_a_cell(cell: object) -> None:
    settings = parse_cell(str(cell)).settings
    topology = compose_file.read(PAIR, settings, {})
    router = topology.service("router-a").environment
    assert Nat.from_environment(router) == parse_cell(str(cell)).a.home
    carrier = topology.service("carrier-b").environment
    assert Nat.from_environment(carrier) == parse_cell(str(cell)).b.carrier
