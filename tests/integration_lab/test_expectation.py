"""The expected path, against every cell of the table that was measured on real routers."""

from itertools import product

import pytest

from integration.behaviour import Filtering, Input, Mapping, Nat
from integration.expectation import Ends, expected_paths
from integration.kinds import KINDS

OPEN = Filtering.ENDPOINT_INDEPENDENT
SYMMETRIC = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)
HOME = Nat()

# The worse of both ends; a dash where only a relay helps. PUB to UB from left to right.
TABLE = {
    "PUB": "host host srflx srflx srflx srflx prflx srflx prflx prflx -",
    "FW": "     host srflx srflx srflx srflx -     srflx -     -     -",
    "ONE": "         srflx srflx srflx srflx prflx srflx prflx prflx -",
    "FC": "                srflx srflx srflx prflx srflx prflx prflx -",
    "AR": "                      srflx srflx prflx srflx prflx prflx -",
    "MQ": "                            srflx -     srflx -     -     -",
    "SY": "                                  -     -     -     -     -",
    "CG(MQ:MQ)": "                                 srflx -     -     -",
    "CG(MQ:SY)": "                                       -     -     -",
    "CG(SY:FC)": "                                             -     -",
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
    assert list(TABLE) == list(KINDS)


@pytest.mark.parametrize(("row", "column", "kind"), CELLS)
def test_every_cell_of_the_measured_table(row: str, column: str, kind: str) -> None:
    paths = expected_paths(KINDS[row].nat, KINDS[column].nat)
    assert len(paths) <= 1
    assert worse_kind(paths) == kind


@pytest.mark.parametrize(("row", "column", "kind"), CELLS)
def test_a_relay_serves_where_no_direct_path_exists_and_only_there(
    row: str, column: str, kind: str
) -> None:
    direct = expected_paths(KINDS[row].nat, KINDS[column].nat)
    paths = expected_paths(KINDS[row].nat, KINDS[column].nat, relays=True)
    if kind != "-":
        assert paths == direct
        return
    # Over one relay, unless neither side can send a datagram anywhere else.
    hops = {[ends.a, ends.b].count("relay") for ends in paths}
    assert hops == ({2} if row == column == "UB" else {1})


@pytest.mark.parametrize(
    ("row", "column", "paths"),
    [
        ("MQ", "SY", {Ends("relay", "prflx"), Ends("srflx", "relay")}),
        ("FW", "SY", {Ends("relay", "prflx"), Ends("host", "relay")}),
        ("SY", "SY", {Ends("relay", "prflx"), Ends("prflx", "relay")}),
        ("PUB", "UB", {Ends("host", "relay")}),
        ("SY", "UB", {Ends("prflx", "relay")}),
        ("UB", "UB", {Ends("relay", "relay")}),
    ],
)
def test_the_other_end_of_a_relayed_path_is_seen_as_the_relay_sees_it(
    row: str, column: str, paths: set[Ends]
) -> None:
    assert expected_paths(KINDS[row].nat, KINDS[column].nat, relays=True) == paths


@pytest.mark.parametrize("public", ["PUB", "ONE", "FC", "AR"])
def test_the_peer_reflexive_end_is_always_the_symmetric_one(public: str) -> None:
    (ends,) = expected_paths(KINDS[public].nat, SYMMETRIC)
    assert (ends.a, ends.b) == ("host" if public == "PUB" else "srflx", "prflx")


EVERY = [
    Nat(mapping=mapping, filtering=filtering) for mapping in Mapping for filtering in Filtering
]


@pytest.mark.parametrize(("a", "b"), list(product(EVERY, EVERY)))
@pytest.mark.parametrize("relays", [False, True])
def test_both_sides_expect_the_same(a: Nat, b: Nat, relays: bool) -> None:
    mirrored = {Ends(ends.b, ends.a) for ends in expected_paths(b, a, relays=relays)}
    assert expected_paths(a, b, relays=relays) == mirrored


def test_a_symmetric_nat_that_filters_nothing_is_reached_where_it_announced() -> None:
    lax = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, filtering=OPEN)
    assert Ends("srflx", "srflx") in expected_paths(lax, HOME)
    assert expected_paths(lax, SYMMETRIC) == {Ends("srflx", "prflx")}


def test_a_router_that_accepts_has_no_expectation() -> None:
    with pytest.raises(ValueError, match="who sends first"):
        expected_paths(Nat(input=Input.ACCEPT), HOME)
