"""One pace for all, a cap for each stranger."""

import math
from ipaddress import ip_address

from nat.machine import Datagram, Endpoint, IPAddress
from nat.pacer import (
    ANSWER_BURST,
    ANSWER_RATE,
    BURST,
    MAX_DEBT,
    MAX_KNOWN,
    RATE,
    STRANGER_BURST,
    STRANGER_RATE,
    Pacer,
    Urgency,
)
from tests.support.network import endpoint

HERE = endpoint("192.0.2.1")


def to(last: int, port: int = 1, payload: bytes = b"") -> Datagram:
    return Datagram(HERE, endpoint(f"203.0.113.{last}", port), payload)


def drained(pacer: Pacer, until: float) -> list[tuple[float, Datagram]]:
    now, released = 0.0, [(0.0, datagram) for datagram in pacer.release(0.0)]
    while (due := pacer.next_timeout()) <= until:
        now = max(now, due)
        released += [(now, datagram) for datagram in pacer.release(now)]
    return released


def test_a_small_burst_leaves_at_once_and_the_rest_at_the_pace() -> None:
    pacer = Pacer(now=0.0)
    for last in range(1, 251):
        pacer.submit(to(last), Urgency.HUNT)

    times = [at for at, _ in drained(pacer, until=10.0)]

    assert len([at for at in times if at == 0.0]) == BURST
    assert len(times) == 250
    assert abs(times[-1] - (250 - BURST) / RATE) < 0.01
    assert pacer.next_timeout() == math.inf


def test_a_nomination_waits_for_nothing() -> None:
    pacer = Pacer(now=0.0)
    for _ in range(1000):
        pacer.submit(to(1), Urgency.ANSWER)
    pacer.release(0.0)

    pacer.submit(to(2), Urgency.NOMINATE)

    assert pacer.release(0.0) == [to(2)]


def test_first_checks_of_all_pairs_go_before_second_ones() -> None:
    pacer = Pacer(now=0.0)
    for last in range(1, int(BURST) + 1):
        pacer.submit(to(last), Urgency.HUNT)
    for last in range(1, int(BURST) + 1):
        pacer.submit(to(last, port=2), Urgency.FIRST)

    assert {datagram.destination.port for datagram in pacer.release(0.0)} == {2}


def test_a_further_check_takes_the_place_of_a_first_one_that_waits() -> None:
    pacer = Pacer(now=0.0)

    pacer.submit(to(1), Urgency.FIRST)
    pacer.submit(to(1, payload=b"new"), Urgency.HUNT)
    pacer.submit(to(2), Urgency.FIRST)

    assert pacer.release(0.0) == [to(1, payload=b"new"), to(2)]


def test_what_keeps_paths_alive_goes_before_hunting() -> None:
    pacer = Pacer(now=0.0)
    for last in range(1, 101):
        pacer.submit(to(last), Urgency.HUNT)
    pacer.release(0.0)

    pacer.submit(to(200), Urgency.KEEP)

    assert pacer.release(0.006) == [to(200)]


def test_answers_are_never_delayed_but_count() -> None:
    pacer = Pacer(now=0.0)
    for _ in range(100):
        pacer.submit(to(1), Urgency.ANSWER)
    pacer.submit(to(2), Urgency.KEEP)

    assert pacer.release(0.0) == [to(1)] * 100 + [to(2)]
    for _ in range(1000):
        pacer.submit(to(1), Urgency.ANSWER)
    pacer.submit(to(2), Urgency.KEEP)

    assert pacer.release(0.0) == [to(1)] * 1000, "what does not wait puts off all else"
    assert pacer.release((MAX_DEBT + 1.5) / RATE) == [to(2)], "but not for long"


def test_a_peer_that_checks_without_end_is_answered_at_a_bounded_rate() -> None:
    pacer = Pacer(now=0.0)
    answers = 0
    for step in range(10_000):
        pacer.submit(to(1), Urgency.ANSWER, owner="flooding")
        pacer.submit(to(2), Urgency.ANSWER, owner="usual") if step % 100 == 0 else None
        released = pacer.release(step / 1000)
        answers += released.count(to(1))
        assert (to(2) in released) == (step % 100 == 0), "others are answered as ever"

    assert answers == ANSWER_BURST + ANSWER_RATE * 10 - 1
    assert pacer.unanswered == 10_000 - answers


def test_answers_to_many_leave_half_of_the_pace_to_checks() -> None:
    pacer = Pacer(now=0.0)
    pacer.know(to(2).destination.ip)
    checks = 0
    for step in range(1000):
        for owner in ("a", "b", "c", "d"):
            pacer.submit(to(1), Urgency.ANSWER, owner=owner)
        pacer.submit(to(2, port=step + 1), Urgency.KEEP)
        checks += sum(d.destination.ip == to(2).destination.ip for d in pacer.release(step / 100))

    assert checks >= RATE / 2 * 10 - BURST


def test_the_memory_for_who_has_answered_is_bounded() -> None:
    pacer = Pacer(now=0.0)
    for number in range(MAX_KNOWN + 1):
        pacer.know(ip_address(0x0B000000 + number))

    assert capped(pacer, ip_address(0x0B000000)), "the first one is forgotten"
    assert not capped(pacer, ip_address(0x0B000001))


def capped(pacer: Pacer, ip: IPAddress) -> bool:
    """Whether an address gets no more than a stranger does."""
    datagrams = [Datagram(HERE, Endpoint(ip, port), b"") for port in range(1, 100)]
    for datagram in datagrams:
        pacer.submit(datagram, Urgency.KEEP)
    before = pacer.capped
    pacer.release(1e6)
    pacer.release(2e6)
    return pacer.capped > before


def test_a_newer_check_takes_the_place_of_one_that_waits() -> None:
    pacer = Pacer(now=0.0)
    for last in range(1, 31):
        pacer.submit(to(last), Urgency.HUNT, owner="a")
    for last in range(1, 31):
        pacer.submit(to(last, payload=b"new"), Urgency.HUNT, owner="a")

    released = [datagram for _, datagram in drained(pacer, until=1.0)]

    assert released == [to(last, payload=b"new") for last in range(1, 31)]


def test_nobody_takes_the_place_of_anothers_check() -> None:
    pacer = Pacer(now=0.0)
    pacer.submit(to(1, payload=b"a"), Urgency.HUNT, owner="a")
    pacer.submit(to(1, payload=b"b"), Urgency.HUNT, owner="b")

    assert {datagram.payload for datagram in pacer.release(0.0)} == {b"a", b"b"}


def test_a_pair_that_turns_urgent_leaves_once() -> None:
    pacer = Pacer(now=0.0)
    pacer.submit(to(1, payload=b"old"), Urgency.HUNT)
    pacer.submit(to(1, payload=b"new"), Urgency.KEEP)

    assert pacer.release(0.0) == [to(1, payload=b"new")]


def test_what_a_removed_owner_had_queued_is_dropped() -> None:
    pacer = Pacer(now=0.0)
    pacer.submit(to(1), Urgency.HUNT, owner="gone")
    pacer.submit(to(2), Urgency.KEEP, owner="gone")
    pacer.submit(to(3), Urgency.HUNT, owner="there")

    pacer.forget("gone")

    assert pacer.release(0.0) == [to(3)]


def test_all_ports_of_an_address_that_never_answered_share_one_cap() -> None:
    pacer = Pacer(now=0.0)
    sent = 0
    for tenth in range(600):
        for port in range(1, 11):
            pacer.submit(to(9, port), Urgency.HUNT)
        sent += len(pacer.release(tenth / 10))

    assert STRANGER_BURST + 59 * STRANGER_RATE <= sent <= STRANGER_BURST + 60 * STRANGER_RATE
    assert pacer.capped + sent == 6000


def test_an_address_that_has_answered_is_not_capped() -> None:
    pacer = Pacer(now=0.0)
    pacer.know(to(9).destination.ip)

    for second in range(60):
        for port in range(1, 11):
            pacer.submit(to(9, port), Urgency.HUNT)
        assert len(pacer.release(float(second))) == 10

    assert pacer.capped == 0


def test_the_memory_for_strangers_is_bounded() -> None:
    pacer = Pacer(now=0.0)
    now = 0.0
    for i in range(5000):
        now += 0.01
        destination = Endpoint(endpoint(f"203.{i // 250 % 250}.{i % 250}.1").ip, 1)
        pacer.submit(Datagram(HERE, destination, b""), Urgency.HUNT)
        assert len(pacer.release(now)) == 1
