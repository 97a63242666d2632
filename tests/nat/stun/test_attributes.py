"""Values of STUN attributes, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import StunError
from nat.stun.attributes import DECODED, Attribute, decode, encode, padded

TRANSACTION = bytes(range(12))


@given(kind=st.sampled_from(sorted(DECODED)), value=st.binary(max_size=600))
def test_any_bytes_are_a_value_or_a_stun_error(kind: int, value: bytes) -> None:
    try:
        decode(kind, value, TRANSACTION)
    except StunError:
        pass


@pytest.mark.parametrize("size", range(9))
def test_values_are_padded_to_four_bytes(size: int) -> None:
    encoded = encode(Attribute.SOFTWARE, b"x" * size)

    assert len(encoded) == 4 + padded(size)
    assert len(encoded) % 4 == 0
    assert encoded[2:4] == bytes([0, size])


def test_an_error_names_the_attribute() -> None:
    with pytest.raises(StunError, match="0x0024"):
        decode(Attribute.PRIORITY, b"", TRANSACTION)
