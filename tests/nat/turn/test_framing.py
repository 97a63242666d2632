"""ChannelData, and frames in a byte stream (RFC 8656 §12.4, §12.5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import StunError
from nat.stun.message import binding_request, is_stun
from nat.turn.framing import (
    ChannelData,
    StreamSplitter,
    is_channel_data,
    parse_channel_data,
)

CHANNELS = st.integers(0x4000, 0x4FFF)
FRAMES = st.one_of(
    st.builds(ChannelData, CHANNELS, st.binary(max_size=50)),
    st.binary(min_size=12, max_size=12).map(binding_request),
)


@given(CHANNELS, st.binary(max_size=2000), st.booleans())
def test_channel_data_comes_back_as_it_was(channel: int, payload: bytes, padded: bool) -> None:
    data = ChannelData(channel, payload)

    assert parse_channel_data(data.encode(padded=padded)) == data


@given(st.binary(max_size=100))
def test_any_bytes_are_channel_data_or_a_stun_error(frame: bytes) -> None:
    try:
        parse_channel_data(frame)
    except StunError:
        pass


@pytest.mark.parametrize("channel", [0x5000, 0x7FFF])
def test_reserved_channels_are_refused(channel: int) -> None:
    with pytest.raises(StunError, match="reserved"):
        parse_channel_data(ChannelData(channel, b"data").encode())


@given(st.lists(FRAMES, max_size=10), st.lists(st.integers(1, 60), min_size=1))
def test_a_stream_is_cut_into_its_frames_however_it_arrives(
    items: list[ChannelData | bytes], sizes: list[int]
) -> None:
    frames = [i.encode() if isinstance(i, ChannelData) else i for i in items]
    stream = b"".join(i.encode(padded=True) if isinstance(i, ChannelData) else i for i in items)
    splitter = StreamSplitter()

    found: list[bytes] = []
    while stream:
        for size in sizes:
            found += splitter.feed(stream[:size])
            stream = stream[size:]

    assert found == frames
    assert all(is_stun(frame) != is_channel_data(frame) for frame in found)


@pytest.mark.parametrize("garbage", [b"\xff" * 4, b"\x80\x00\x00\x00", b"\x00\x01\x00\x03"])
def test_a_stream_that_is_neither_is_given_up(garbage: bytes) -> None:
    with pytest.raises(StunError):
        StreamSplitter().feed(garbage)


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_any_stream_gives_frames_or_a_stun_error(chunks: list[bytes]) -> None:
    splitter = StreamSplitter()
    try:
        for chunk in chunks:
            splitter.feed(chunk)
    except StunError:
        pass
