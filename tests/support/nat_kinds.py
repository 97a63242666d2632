"""Every kind of NAT by name, and two peers behind any two of them."""

from collections.abc import Callable

from nat.candidate import CandidateType

from .nat import Filtering, Mapping, Nat
from .peers import Peers

LATENCY = 0.02
"""Seconds one way."""

NATS = ("198.51.100.1", "198.51.100.2")
"""The public addresses of the NATs of both."""


def _every_kind() -> dict[str, Callable[[str], Nat | None]]:
    known: dict[str, Callable[[str], Nat | None]] = {
        "open": lambda ip: None,
        "one-to-one": _kind(Mapping.ONE_TO_ONE, Filtering.ENDPOINT_INDEPENDENT),
    }
    for filtering in (Filtering.ADDRESS_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT):
        known[f"firewall/{filtering.value}"] = _kind(Mapping.NONE, filtering)
    for mapping in (
        Mapping.ENDPOINT_INDEPENDENT,
        Mapping.ADDRESS_DEPENDENT,
        Mapping.ADDRESS_AND_PORT_DEPENDENT,
    ):
        for filtering in Filtering:
            known[f"{mapping.value}/{filtering.value}"] = _kind(mapping, filtering)
    return known


def _kind(mapping: Mapping, filtering: Filtering) -> Callable[[str], Nat | None]:
    return lambda ip: Nat(ip, mapping, filtering)


KINDS = _every_kind()
"""Every mapping of RFC 4787 with every filtering, and what is not a NAT, by public address."""


def peers_behind(kind_a: str, kind_b: str) -> tuple[Peers, Nat | None, Nat | None]:
    """Put A and B behind kinds of NAT; return these, too."""
    nat_a, nat_b = KINDS[kind_a](NATS[0]), KINDS[kind_b](NATS[1])
    return Peers(nat_a, nat_b, latency=LATENCY), nat_a, nat_b


def assert_both_on(peers: Peers, kind: CandidateType | None) -> None:
    """Both sides hold the expected kind of path, and each other's ends of one and the same pair."""
    path_a, path_b = peers.paths
    assert [path and path.kind for path in (path_a, path_b)] == [kind, kind]
    if path_a is not None and path_b is not None:
        assert path_a.local.endpoint == path_b.remote.endpoint
        assert path_b.local.endpoint == path_a.remote.endpoint
