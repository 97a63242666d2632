"""Every frame of a batch is sorted as the RFC reads, whatever its neighbours are."""

import ctypes
from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from nat.io.frames import FrameSorter, Head, head_at
from nat.stun.message import binding_request, is_stun

PLUGGED = 0x4001
STRIDE = 2048
CHECK = binding_request(bytes(12))


def channel_data(channel: int, payload: bytes) -> bytes:
    return channel.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


class Sink:
    """Copies what it gets."""

    def __init__(self) -> None:
        self.delivered: list[tuple[int, bytes]] = []

    def __contains__(self, channel: int) -> bool:
        return channel == PLUGGED

    def deliver(
        self,
        channel: int,
        addresses: Sequence[int],
        lengths: list[int],
        lone: memoryview | None = None,
    ) -> None:
        assert lone is None or [bytes(lone)] == [
            ctypes.string_at(address, length)
            for address, length in zip(addresses, lengths, strict=True)
        ]
        for address, length in zip(addresses, lengths, strict=True):
            self.delivered.append((channel, ctypes.string_at(address, length)))


class Sorted:
    """A batch and what became of it."""

    def __init__(self, frames: list[bytes]) -> None:
        self.control: list[bytes] = []
        self.counters: Counter[str] = Counter()
        sink = Sink()
        sorter = FrameSorter(channels=sink, on_frame=self.control.append, counters=self.counters)
        # What lies behind a short frame is left from an earlier one: a check.
        memory = ctypes.create_string_buffer(
            b"".join((f + CHECK).ljust(STRIDE, b"\xff")[:STRIDE] for f in frames) + bytes(64)
        )
        view = memoryview(memory).cast("B")
        offsets = [STRIDE * slot for slot in range(len(frames))]
        heads: list[Head] = [head_at(view, offset) for offset in offsets]
        sorter.sort(view, ctypes.addressof(memory), offsets, [len(f) for f in frames], heads)
        self.delivered = sink.delivered

    def of(self, channel: int) -> list[bytes]:
        return [payload for each, payload in self.delivered if each == channel]


FRAMES = st.one_of(
    st.binary(max_size=40),
    st.builds(channel_data, st.sampled_from([PLUGGED, 0x4002, 0x5000]), st.binary(max_size=40)),
    st.builds(
        lambda payload, pad, cut: (channel_data(PLUGGED, payload) + bytes(pad))[: -cut or None],
        st.binary(max_size=40),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    st.sampled_from([CHECK, channel_data(0x4002, CHECK), channel_data(PLUGGED, CHECK)]),
)


def expected(frame: bytes) -> tuple[str, bytes]:
    """What one frame is, written down a second time."""
    number, length = int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")
    payload = frame[4 : 4 + length]
    if is_stun(frame):
        return "control", frame
    if not 0x4000 <= number <= 0x4FFF or len(frame) < 4:
        return "malformed", b""
    if length == 0 or len(payload) < length or len(frame) > 4 + length + 3:
        return "malformed", b""
    if is_stun(payload):
        return "control", frame[: 4 + length]
    return f"{number:x}", payload


@given(st.lists(FRAMES, min_size=1, max_size=32))
def test_each_frame_goes_where_it_belongs_in_its_order(frames: list[bytes]) -> None:
    outcome = Sorted(frames)

    wanted = [expected(frame) for frame in frames]
    assert outcome.control == [value for kind, value in wanted if kind == "control"]
    for channel in range(0x4000, 0x5000):
        kind = f"{channel:x}"
        assert outcome.of(channel) == [value for each, value in wanted if each == kind]
    assert outcome.counters["received-dropped-malformed"] == sum(
        k == "malformed" for k, _ in wanted
    )


def test_a_stream_of_equal_frames_is_delivered_as_one() -> None:
    payloads = [bytes([number]) * 8 + bytes(92) for number in range(20)]
    same_word = [p[:4] + bytes(4) + p[8:] for p in payloads]

    outcome = Sorted([channel_data(PLUGGED, payload) for payload in same_word])

    assert outcome.of(PLUGGED) == same_word


def test_equal_checks_are_not_taken_for_data() -> None:
    frame = channel_data(PLUGGED, CHECK)

    outcome = Sorted([frame, frame])

    assert outcome.control == [frame, frame]
    assert outcome.delivered == []


def test_padding_is_not_delivered() -> None:
    outcome = Sorted([channel_data(PLUGGED, b"12345678") + bytes(pad) for pad in range(5)])

    assert outcome.of(PLUGGED) == [b"12345678"] * 4
    assert outcome.counters == {"received-dropped-malformed": 1}
