"""What fits into the tunnel follows from what fits around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.tunnel_mtu import (
    DEFAULT_MTU,
    PADDING,
    WIREGUARD_OVERHEAD,
    data_size,
    interface_mtu,
    peer_mtu,
)


@pytest.mark.parametrize(
    ("packet", "headers", "expected"),
    [
        (1500, 20, 1420),
        (1500, 40, 1420),
        (1280, 20, 1216),
        (1280, 40, 1200),
        (1492, 40, 1408),
    ],
    ids=["IPv4", "IPv6", "1280 over IPv4", "1280 over IPv6", "PPPoE over IPv6"],
)
def test_a_path_of_some_width_takes_packets_of_some_size(
    packet: int, headers: int, expected: int
) -> None:
    assert peer_mtu(packet - headers - 8, DEFAULT_MTU) == expected


def test_what_is_not_known_restricts_nothing() -> None:
    assert peer_mtu(None, 1380) == 1380


@given(st.integers(544, 9000), st.integers(1280, 9000))
def test_a_padded_packet_never_outgrows_its_path(limit: int, bound: int) -> None:
    mtu = peer_mtu(limit, bound)
    assert mtu <= bound
    if mtu < bound:
        padded = mtu + -mtu % PADDING
        assert padded + WIREGUARD_OVERHEAD <= limit
    else:
        # At the interface's own MTU nothing is padded further.
        assert data_size(mtu) <= limit


@pytest.mark.parametrize(
    ("underlay", "bound", "expected"),
    [
        (None, 1420, 1420),
        (1500, 1420, 1420),
        (1460, 1420, 1380),
        (9000, 8920, 8920),
        (1300, 1420, 1280),
    ],
)
def test_the_interface_fits_the_way_out_of_the_host(
    underlay: int | None, bound: int, expected: int
) -> None:
    assert interface_mtu(underlay, bound) == expected
