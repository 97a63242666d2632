"""The expected path, against every cell of the table that was measured on real routers."""

from itertools import product

import pytest

from integration.behaviour import Filtering, Input, Mapping, Nat, Udp
from integration.expectation import Ends, cascade, expected_paths

OPEN, ADDRESS = Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT
SYMMETRIC = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)
HOME = Nat()

KINDS = {
    "PUB": Nat(mapping=Mapping.NONE, filtering=OPEN),
    "FW": Nat(mapping=Mapping.NONE),
    "ONE": Nat(mapping=Mapping.ONE_TO_ONE, filtering=OPEN),
    "FC": Nat(filtering=OPEN),
    "AR": Nat(filtering=ADDRESS),
    "MQ": HOME,
    "SY": SYMMETRIC,
    "CG": cascade(HOME, HOME),
    "CG SY": cascade(HOME, SYMMETRIC),
    "CG FC": cascade(SYMMETRIC, Nat(filtering=OPEN)),
    "UB": Nat(udp=Udp.BLOCKED),
}

# The worse of both ends; a dash where only a relay helps. PUB to UB from left to right.
TABLE = {
    "PUB": "host host srflx srflx srflx srflx prflx srflx prflx prflx -",
    "FW": "     host srflx srflx srflx srflx -     srflx -     -     -",
    "ONE": "         srflx srflx srflx srflx prflx srflx prflx prflx -",
    "FC": "                srflx srflx srflx prflx srflx prflx prflx -",
    "AR": "                      srflx srflx prflx srflx prflx prflx -",
    "MQ": "                            srflx -     srflx -     -     -",
    "SY": "                                  -     -     -     -     -",
    "CG": "                                        srflx -     -     -",
    "CG SY": "                                           -     -     -",
    "CG FC": "                                                 -     -",
    "UB": "                                                          -",
}

CELLS = [
    (row, column, kind)
    for index, (row, kinds) in enumerate(TABLE.items())
    for column, kind in zip(list(KINDS)[index:], kinds.split(), strict=True)
]


def worse_kind(path: frozenset[Ends]) -> str:
    ranks = ["host", "srflx", "prflx"]
    return (
        "-"
        if not path
        else max((end for ends in path for end in (ends.a, ends.b)), key=ranks.index)
    )


def test_the_table_is_whole() -> None:
    assert len(CELLS) == 66


@pytest.mark.parametrize(("row", "column", "kind"), CELLS)
def test_every_cell_of_the_measured_table(row: str, column: str, kind: str) -> None:
    paths = expected_paths(KINDS[row], KINDS[column])
    assert len(paths) <= 1
    assert worse_kind(paths) == kind


@pytest.mark.parametrize("public", ["PUB", "ONE", "FC", "AR"])
def test_the_peer_reflexive_end_is_always_the_symmetric_one(public: str) -> None:
    (ends,) = expected_paths(KINDS[public], SYMMETRIC)
    assert (ends.a, ends.b) == ("host" if public == "PUB" else "srflx", "prflx")


EVERY = [
    Nat(mapping=mapping, filtering=filtering) for mapping in Mapping for filtering in Filtering
]


@pytest.mark.parametrize(("a", "b"), list(product(EVERY, EVERY)))
def test_both_sides_expect_the_same(a: Nat, b: Nat) -> None:
    mirrored = {Ends(ends.b, ends.a) for ends in expected_paths(b, a)}
    assert expected_paths(a, b) == mirrored


def test_a_symmetric_nat_that_filters_nothing_is_reached_where_it_announced() -> None:
    lax = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, filtering=OPEN)
    assert Ends("srflx", "srflx") in expected_paths(lax, HOME)
    assert expected_paths(lax, SYMMETRIC) == {Ends("srflx", "prflx")}


def test_a_router_that_accepts_has_no_expectation() -> None:
    with pytest.raises(ValueError, match="who sends first"):
        expected_paths(Nat(input=Input.ACCEPT), HOME)
