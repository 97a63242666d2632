"""A router's NAT is what its variables say, as seen by probes on both of its sides (RFC 5780)."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import pytest

from .behaviour import Filtering, Hairpinning, Input, Mapping, Nat, Udp
from .conftest import Labs
from .lab import Lab

INSIDE, INSIDE_2 = "192.168.1.10", "192.168.1.11"
WAN = "198.18.113.2"
OUTSIDE, OUTSIDE_2 = "198.18.113.10", "198.18.113.20"

PRIMARY, ALTERNATE, SENTINEL = 3478, 3479, 3480
"""Ports of each outside host: two to be compared, and one whose datagrams are always let in."""

ARRIVAL_SECONDS: Final = 5.0
"""How long a datagram that must arrive may take; it takes less than a millisecond."""

SETTLE_SECONDS: Final = 0.05
"""How much later than the one sent after it a datagram may be printed."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram that a probe has seen."""

    port: int
    source: str
    text: str


class Probe:
    """Sockets of a node."""

    def __init__(self, lab: Lab, node: str, *ports: int) -> None:
        argv = ["python", "-m", "integration.udp_probe", *map(str, ports)]
        self._process = lab.popen(node, argv)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._arrivals: queue.Queue[Arrival] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._reader.join()
        self._process.communicate()

    def send(self, port: int, to: str, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"port": port, "to": to, "text": text}) + "\n")
        self._process.stdin.flush()

    def receive(self, text: str) -> Arrival:
        """Wait for the datagram with this text; others before it are dropped."""
        return self.until(text)[-1]

    def until(self, text: str) -> list[Arrival]:
        """Take all that arrives up to the datagram with this text."""
        arrivals = [self._arrivals.get(timeout=ARRIVAL_SECONDS)]
        while arrivals[-1].text != text:
            arrivals.append(self._arrivals.get(timeout=ARRIVAL_SECONDS))
        return arrivals

    def seen(self) -> set[str]:
        """Take the texts of all that has arrived."""
        time.sleep(SETTLE_SECONDS)
        texts = set()
        while not self._arrivals.empty():
            texts.add(self._arrivals.get().text)
        return texts

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fields = json.loads(line)
            self._arrivals.put(Arrival(fields["port"], fields["from"], fields["text"]))


@dataclass(frozen=True, slots=True)
class Site:
    """Probes on both sides of a router."""

    inside: Probe
    inside_2: Probe
    outside: Probe
    outside_2: Probe

    def mapped(self, port: int, to: str, *, who: Probe | None = None) -> str:
        """Send from an inside port; returns the source that the outside sees."""
        text = f"{port} to {to}"
        (who or self.inside).send(port, to, text)
        target = self.outside if to.startswith(OUTSIDE + ":") else self.outside_2
        return target.receive(text).source

    def let_in(self, port: int, mapped: str, senders: list[tuple[Probe, int]]) -> list[bool]:
        """Send to a mapped endpoint from the outside; says which get through to `port`.

        A datagram that nothing stops, sent by the same host just after each, tells when the
        router is done with it: nobody has to guess how long silence lasts.
        """
        results = []
        for sender, source in senders:
            host = OUTSIDE if sender is self.outside else OUTSIDE_2
            back = self.mapped(SENTINEL, f"{host}:{SENTINEL}")
            sender.send(source, mapped, "stranger")
            sender.send(SENTINEL, back, "after it")
            before = {arrival.text for arrival in self.inside.until("after it")}
            results.append("stranger" in before | self.inside.seen())
        return results


@pytest.fixture
def site(labs: Labs, nat: Nat) -> Iterator[Site]:
    lab = labs.up("nat.yaml", nat.settings("NAT"))
    with (
        Probe(lab, "inside-1", 4000, 4100, 4300, SENTINEL) as inside,
        Probe(lab, "inside-2", 4000, SENTINEL) as inside_2,
        Probe(lab, "outside-1", PRIMARY, ALTERNATE, SENTINEL) as outside,
        Probe(lab, "outside-2", PRIMARY, ALTERNATE, SENTINEL) as outside_2,
    ):
        yield Site(inside, inside_2, outside, outside_2)


DESTINATIONS = [f"{host}:{port}" for host in (OUTSIDE, OUTSIDE_2) for port in (PRIMARY, ALTERNATE)]

KINDS = [
    Nat(mapping=mapping, filtering=filtering) for mapping in Mapping for filtering in Filtering
]


def name(nat: Nat) -> str:
    return f"{nat.mapping.value} {nat.filtering.value}"


@pytest.mark.parametrize("nat", KINDS, ids=name)
def test_mapping_and_filtering_are_as_named(site: Site, nat: Nat) -> None:
    mapped = [site.mapped(4000, destination) for destination in DESTINATIONS]
    match nat.mapping:
        case Mapping.NONE:
            assert set(mapped) == {f"{INSIDE}:4000"}
        case Mapping.ONE_TO_ONE | Mapping.ENDPOINT_INDEPENDENT:
            assert set(mapped) == {f"{WAN}:4000"}, "one mapping, and the port is kept"
        case Mapping.ADDRESS_AND_PORT_DEPENDENT:
            assert len(set(mapped)) == 4, "one mapping for each destination"
            assert {endpoint.partition(":")[0] for endpoint in mapped} == {WAN}

    contacted = site.mapped(4100, f"{OUTSIDE}:{PRIMARY}")
    strangers = [
        (site.outside, PRIMARY),
        (site.outside, ALTERNATE),
        (site.outside_2, PRIMARY),
    ]
    expected = {
        Filtering.ENDPOINT_INDEPENDENT: [True, True, True],
        Filtering.ADDRESS_DEPENDENT: [True, True, False],
        Filtering.ADDRESS_AND_PORT_DEPENDENT: [True, False, False],
    }
    assert site.let_in(4100, contacted, strangers) == expected[nat.filtering]

    # Nothing that came in, or was kept out, has changed the mapping.
    assert site.mapped(4100, f"{OUTSIDE}:{PRIMARY}") == contacted


@pytest.mark.parametrize(
    "nat",
    [Nat(filtering=Filtering.ENDPOINT_INDEPENDENT), Nat(filtering=Filtering.ADDRESS_DEPENDENT)],
    ids=name,
)
def test_an_answer_to_a_stranger_leaves_from_the_mapping_it_came_to(site: Site, nat: Nat) -> None:
    contacted = site.mapped(4100, f"{OUTSIDE}:{PRIMARY}")
    site.outside.send(ALTERNATE, contacted, "hello")
    assert site.inside.receive("hello").source == f"{OUTSIDE}:{ALTERNATE}"
    assert site.mapped(4100, f"{OUTSIDE}:{ALTERNATE}") == contacted


@pytest.mark.parametrize("nat", [Nat()], ids=name)
def test_two_hosts_with_one_port_get_two_mappings_that_stay(site: Site, nat: Nat) -> None:
    first = {site.mapped(4000, destination) for destination in DESTINATIONS}
    second = {site.mapped(4000, to, who=site.inside_2) for to in DESTINATIONS}
    assert first == {f"{WAN}:4000"}
    assert len(second) == 1
    assert first != second


HAIRPINS = [
    Nat(mapping=mapping, filtering=filtering, hairpinning=hairpinning)
    for mapping in Mapping
    if mapping is not Mapping.NONE
    for filtering in Filtering
    for hairpinning in Hairpinning
]


@pytest.mark.parametrize("nat", HAIRPINS, ids=lambda nat: f"{name(nat)} {nat.hairpinning.value}")
def test_hairpinning_is_as_named(site: Site, nat: Nat) -> None:
    contacted = site.mapped(4100, f"{OUTSIDE}:{PRIMARY}")
    site.inside_2.send(4000, contacted, "neighbour")
    if nat.hairpinning is Hairpinning.OFF:
        if nat.mapping is not Mapping.ONE_TO_ONE:
            # When the outside has what was sent after it, the router is done with it.
            site.mapped(SENTINEL, f"{OUTSIDE}:{SENTINEL}", who=site.inside_2)
        assert "neighbour" not in site.inside.seen()
        return
    arrival = site.inside.receive("neighbour")
    assert arrival.port == 4100
    assert arrival.source.partition(":")[0] == WAN, "from its public endpoint (RFC 4787 REQ-9)"
    site.inside.send(4100, arrival.source, "answer")
    assert site.inside_2.receive("answer").source == contacted


@pytest.mark.parametrize(
    "nat", [Nat(input=value) for value in Input], ids=lambda nat: nat.input.value
)
def test_only_a_router_that_accepts_unsolicited_datagrams_gives_another_port(
    site: Site, nat: Nat
) -> None:
    site.outside.send(PRIMARY, f"{WAN}:4300", "early check")
    # The router is done with it when it has let in what was sent next.
    back = site.mapped(SENTINEL, f"{OUTSIDE}:{SENTINEL}")
    site.outside.send(SENTINEL, back, "after it")
    site.inside.receive("after it")

    kept = site.mapped(4300, f"{OUTSIDE}:{PRIMARY}") == f"{WAN}:4300"
    assert kept == (nat.input is Input.DROP)


@pytest.mark.parametrize("nat", [Nat(udp=Udp.BLOCKED)], ids=["blocked"])
def test_where_udp_is_blocked_only_tcp_to_port_443_gets_out(labs: Labs, nat: Nat) -> None:
    lab = labs.up("nat.yaml", nat.settings("NAT"))
    serve = (
        "import socket, time\n"
        "servers = [socket.create_server(('', port)) for port in (80, 443)]\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    connect = (
        "import socket, sys\n"
        f"socket.create_connection(({OUTSIDE!r}, int(sys.argv[1])), timeout=5); print('through')"
    )
    with (
        lab.popen("outside-1", ["python", "-c", serve]) as server,
        Probe(lab, "inside-1", 4000) as inside,
        Probe(lab, "outside-1", PRIMARY) as outside,
    ):
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        inside.send(4000, f"{OUTSIDE}:{PRIMARY}", "hello")
        through = lab.exec("inside-1", ["python", "-c", connect, "443"]).stdout
        refused = lab.exec("inside-1", ["python", "-c", connect, "80"], check=False).stderr
        assert through == "through\n"
        # "Administratively prohibited" is this error to a TCP socket.
        assert "No route to host" in refused
        assert outside.seen() == set()
        server.kill()
