"""Batches through the kernel, on loopback."""

import ctypes
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.io.mmsg import ALONE, LONELY, MAX_SEGMENTS, SLOTS, UDP_SEGMENT, Inbox, Outbox, enable_gro
from tests.support.relay import port_of, udp_socket

SO_NO_CHECK = 11


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender that is connected to a receiver."""
    with udp_socket() as receiver, udp_socket() as sender:
        sender.connect(receiver.getsockname())
        yield sender, receiver


class Memory:
    """Datagrams that lie in memory."""

    def __init__(self, payloads: list[bytes]) -> None:
        self._buffers = [ctypes.create_string_buffer(payload, len(payload)) for payload in payloads]
        self.addresses = [ctypes.addressof(buffer) for buffer in self._buffers]
        self.lengths = [len(payload) for payload in payloads]


def send(outbox: Outbox, sock: socket.socket, payloads: list[bytes], headers: bytes = b"") -> None:
    memory = Memory(payloads)
    outbox.send(sock, memory.addresses, memory.lengths, headers)


def received(sock: socket.socket) -> list[bytes]:
    """What lies in the receiver's buffer: loopback delivers before `send` returns."""
    payloads = []
    try:
        while True:
            payloads.append(sock.recv(1 << 16))
    except BlockingIOError:
        return payloads


def datagrams(inbox: Inbox) -> list[bytes]:
    addresses, lengths = inbox.datagrams()
    return [ctypes.string_at(*each) for each in zip(addresses, lengths, strict=True)]


def outbox(header_size: int = 0) -> tuple[Outbox, Counter[str]]:
    counters: Counter[str] = Counter()
    return Outbox(header_size=header_size, counters=counters, name="out"), counters


def numbered(lengths: list[int]) -> list[bytes]:
    return [(b"%d." % number).ljust(length, b"x")[:length] for number, length in enumerate(lengths)]


LENGTHS = st.lists(st.sampled_from([1, 32, 96, 1000, 1452, 1453, 9000]) | st.integers(1, 20_000))


@given(LENGTHS.filter(bool), st.sampled_from([0, 4]))
def test_any_batch_arrives_in_order_and_unchanged(lengths: list[int], header_size: int) -> None:
    payloads = numbered(lengths)
    headers = [number.to_bytes(header_size, "big") if header_size else b"" for number in lengths]
    out, counters = outbox(header_size)

    with connected() as (sender, receiver):
        send(out, sender, payloads, b"".join(headers))
        assert received(receiver) == [h + p for h, p in zip(headers, payloads, strict=True)]
    assert counters == {"out-sent": len(payloads)}


@given(LENGTHS.filter(bool))
def test_what_was_coalesced_is_taken_apart(lengths: list[int]) -> None:
    payloads = numbered(lengths)[:SLOTS]
    out, _ = outbox()
    inbox = Inbox()

    with connected() as (sender, receiver):
        enable_gro(receiver)
        send(out, sender, payloads)
        inbox.receive(receiver)
        assert datagrams(inbox) == payloads


def test_a_burst_of_64_kib_is_one_reception() -> None:
    inbox = Inbox()

    with connected() as (sender, receiver):
        assert enable_gro(receiver)
        sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1452)
        sender.send(bytes(45 * 1452 + 100))
        slots = inbox.receive(receiver)

    assert slots == 1
    assert inbox.datagrams()[1] == [1452] * 45 + [100]


def test_more_than_a_kernel_takes_at_once_is_sent_in_parts() -> None:
    payloads = numbered([200] * 1500)
    out, counters = outbox(4)

    with connected() as (sender, receiver):
        send(out, sender, payloads, b"head" * len(payloads))
        assert received(receiver) == [b"head" + payload for payload in payloads]
    assert counters == {"out-sent": 1500}


def test_slots_are_used_again() -> None:
    inbox = Inbox(slots=4)

    with connected() as (sender, receiver):
        for payload in numbered([10] * 9):
            sender.send(payload)
        seen: list[list[bytes]] = []
        for _ in range(3):
            inbox.receive(receiver)
            seen.append(datagrams(inbox))

    assert [len(batch) for batch in seen] == [4, 4, 1]
    assert list(chain.from_iterable(seen)) == numbered([10] * 9)


def test_an_empty_socket_would_block() -> None:
    with udp_socket() as sock, pytest.raises(BlockingIOError):
        Inbox().receive(sock)


def test_a_path_that_refuses_segments_gets_single_datagrams() -> None:
    payloads = numbered([500] * 10 + [700] * 10)
    out, counters = outbox()

    with connected() as (sender, receiver):
        # The kernel refuses segments without checksums (EINVAL), as it does too long ones.
        sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        send(out, sender, payloads)
        assert received(receiver) == payloads
    assert out.gso_limit == 499
    assert counters == {"out-sent": 20}


def test_a_full_queue_drops_the_rest_and_counts_it() -> None:
    payloads = numbered([1000] * 700)
    out, counters = outbox()
    out.gso_limit = 0
    # A datagram socket of the Unix family says when its receiver is full; loopback's UDP never does.
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    with sender, receiver:
        receiver.setblocking(False)
        send(out, sender, payloads)
        arrived = received(receiver)

    assert 0 < len(arrived) < 700
    assert arrived == payloads[: len(arrived)]
    assert counters == {
        "out-sent": len(arrived),
        "out-dropped-congested": 700 - len(arrived),
    }


def test_an_error_of_the_datagram_before_costs_nothing() -> None:
    out, counters = outbox()

    with udp_socket() as sender, udp_socket() as receiver:
        with udp_socket() as gone:
            port = port_of(gone)
        sender.connect(("127.0.0.1", port))
        send(out, sender, [b"nobody is there"])
        receiver.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.bind(("127.0.0.1", port))
            back.setblocking(False)
            send(out, sender, numbered([10, 20]))
            assert received(back) == numbered([10, 20])
    assert counters == {"out-sent": 3}


def test_what_the_kernel_refuses_is_counted_by_its_error_and_the_rest_is_sent() -> None:
    payloads = numbered([10, 65_530, 20])
    out, counters = outbox()

    with connected() as (sender, receiver):
        send(out, sender, payloads)
        assert received(receiver) == [payloads[0], payloads[2]]
    assert counters == {"out-sent": 2, "out-dropped-EMSGSIZE": 1}


def test_runs_stay_within_what_every_kernel_takes() -> None:
    payloads = numbered([8] * (MAX_SEGMENTS + 1))
    out, _ = outbox()
    inbox = Inbox()

    with connected() as (sender, receiver):
        enable_gro(receiver)
        send(out, sender, payloads)
        assert inbox.receive(receiver) == 2
        assert datagrams(inbox) == payloads


def test_lone_datagrams_are_received_one_by_one_until_a_run_comes() -> None:
    inbox = Inbox()

    with connected() as (sender, receiver):
        receiver.setblocking(False)
        enable_gro(receiver)
        alone = []
        for number in range(LONELY + ALONE + 2):
            sender.send(b"%d" % number)
            assert inbox.receive(receiver) == 1
            assert datagrams(inbox) == [b"%d" % number]
            alone.append(inbox.lone is not None)
        # Between two stretches of receptions one by one there is a call for many.
        assert alone == [*[False] * LONELY, *[True] * ALONE, False, True]

        sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 100)
        sender.send(bytes(250))
        assert inbox.receive(receiver) == 1
        assert inbox.lone is None
        assert inbox.coalesced
        assert datagrams(inbox) == [bytes(100), bytes(100), bytes(50)]


def test_a_burst_after_a_lone_datagram_is_received_in_order_and_at_once_when_it_is_noticed() -> (
    None
):
    inbox = Inbox()
    sent = [b"%d" % number for number in range(LONELY + ALONE + 20)]

    with connected() as (sender, receiver):
        receiver.setblocking(False)
        got = []
        for payload in sent[:LONELY]:
            sender.send(payload)
            inbox.receive(receiver)
            got += datagrams(inbox)
        for payload in sent[LONELY:]:
            sender.send(payload)
        counts = []
        while len(got) < len(sent):
            counts.append(inbox.receive(receiver))
            got += datagrams(inbox)

    assert got == sent
    assert counts == [*[1] * ALONE, 20]


def test_a_lone_datagram_that_the_socket_does_not_take_is_counted_like_any_other() -> None:
    out, counters = outbox()

    with connected() as (sender, receiver):
        receiver.close()
        sender.send(b"its port is closed: the next one is told so")
        payload = b"tried again, since the error was that of another"
        out.send(sender, [0], [len(payload)], lone=memoryview(payload))
        assert counters == {"out-sent": 1}

        out.send(sender, [0], [70_000], lone=memoryview(bytes(70_000)))
        assert counters["out-dropped-EMSGSIZE"] == 1


def test_the_first_of_a_burst_does_not_make_the_others_lonely() -> None:
    inbox = Inbox()
    counts = []

    with connected() as (sender, receiver):
        receiver.setblocking(False)
        for _ in range(3 * LONELY):
            sender.send(b"the first, which wakes us")
            counts.append(inbox.receive(receiver))
            for number in range(10):
                sender.send(b"%d" % number)
            counts.append(inbox.receive(receiver))

    assert counts == [1, 10] * (3 * LONELY)
