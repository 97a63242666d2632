"""Netlink's framing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import BackendError
from sidecar.wireguard.netlink import (
    DONE,
    ERROR,
    MAX_ATTRIBUTE,
    NESTED,
    Message,
    decode_attributes,
    decode_messages,
    encode_attribute,
    encode_message,
)

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
MESSAGES = st.builds(
    Message, kind=U16, flags=U16, sequence=U32, payload=st.binary(max_size=16).map(lambda b: b * 4)
)
ATTRIBUTES = st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))


@given(st.lists(MESSAGES, max_size=5))
def test_messages_read_back_as_they_were_written(messages: list[Message]) -> None:
    data = b"".join(map(encode_message, messages))

    assert list(decode_messages(data)) == messages


@given(st.lists(ATTRIBUTES, max_size=5))
def test_attributes_read_back_as_they_were_written(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(encode_attribute(number | NESTED, value) for number, value in pairs)

    assert len(data) % 4 == 0
    assert list(decode_attributes(data)) == pairs


def test_an_attribute_is_length_number_value_and_padding() -> None:
    assert encode_attribute(7, b"\1\2\3\4\5").hex() == "09000700" + "0102030405" + "000000"


def test_the_largest_attribute_fits_its_length_field() -> None:
    value = bytes(MAX_ATTRIBUTE)

    assert list(decode_attributes(encode_attribute(1, value))) == [(1, value)]


@pytest.mark.parametrize("size", [0, 3, 9])
def test_an_attribute_that_lies_about_its_length_is_refused(size: int) -> None:
    with pytest.raises(BackendError, match="past the end"):
        list(decode_attributes(size.to_bytes(2, "little") + b"\1\0\0\0\0\0"))


@given(st.binary(max_size=100))
def test_any_bytes_are_messages_and_attributes_or_an_error(data: bytes) -> None:
    for decode in (decode_messages, decode_attributes):
        try:
            list(decode(data))
        except BackendError:
            pass


@pytest.mark.parametrize(("code", "errno"), [(0, 0), (-98, 98)])
def test_an_end_tells_its_errno(code: int, errno: int) -> None:
    payload = code.to_bytes(4, "little", signed=True) + b"what was asked"

    assert Message(DONE, 0, 1, payload).errno == errno


def test_an_end_without_an_errno_is_refused() -> None:
    with pytest.raises(BackendError, match="without a result"):
        _ = Message(ERROR, 0, 1, b"").errno
