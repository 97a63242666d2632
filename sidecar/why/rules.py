"""The table of reasons: the first rule that applies explains why a peer is not reached directly.

From the surest to the vaguest: what is a state comes first, then what both ends lack, then what
the NATs forbid, then what the checks show, and last what nobody knows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nat.path.events import Outcome, PairState

from ..status import PeerState
from .facts import Facts, Filtering, Mapping, Side, Verdict
from .remedies import Remedy

Test = Callable[[Facts], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason, when it holds, and what would help.

    Attributes:
        code: stable, for programs.
        text: one or two sentences for a person.
    """

    code: str
    applies: Test
    text: str
    remedies: tuple[Remedy, ...] = ()


def _state(*states: PeerState) -> Test:
    return lambda facts: facts.state in states


def _connected(facts: Facts) -> bool:
    return facts.relayed is False and facts.state is PeerState.CONNECTED


def _no_common_family(facts: Facts) -> bool:
    return bool(facts.own.families and facts.peer.families) and not facts.common_families


def _only_vetoed(facts: Facts) -> bool:
    states = [pair.state for pair in facts.direct_pairs]
    return PairState.VETOED in states and PairState.VALID not in states


def _every_send_fails(facts: Facts) -> bool:
    pairs = facts.direct_pairs
    return bool(pairs) and all(pair.outcome is Outcome.SEND_ERROR for pair in pairs)


def _refused(facts: Facts) -> bool:
    return any(pair.outcome is Outcome.REFUSED for pair in facts.direct_pairs)


def _one_way(facts: Facts) -> bool:
    return any(
        pair.heard_age is not None and pair.last_answer_age is None for pair in facts.direct_pairs
    )


def _one_nat(facts: Facts) -> bool:
    """Whether both are behind one and the same NAT."""
    translated = Mapping.NONE not in (facts.own.verdict.mapping, facts.peer.verdict.mapping)
    return translated and bool(facts.own.public & facts.peer.public)


def nats_forbid(one: Side, other: Side) -> bool:
    """Whether the two NATs let no first datagram through in either direction (RFC 4787).

    A NAT that filters by port admits only whom it has sent to, exactly; whom to send to is not
    known of a NAT whose mapping varies. Filtering that is not known counts as the usual one.
    """
    if one.mapped or other.mapped:
        return False
    by_port = all(_by_port(side.verdict) for side in (one, other))
    return by_port and any(_varies(side) for side in (one, other))


def _by_port(verdict: Verdict) -> bool:
    return verdict.filtering in (Filtering.BY_PORT, Filtering.UNKNOWN)


def _varies(side: Side) -> bool:
    return side.verdict.mapping is Mapping.VARIES


def _both_vary(facts: Facts) -> bool:
    return nats_forbid(facts.own, facts.peer) and _varies(facts.own) and _varies(facts.peer)


def _own_varies(facts: Facts) -> bool:
    return nats_forbid(facts.own, facts.peer) and _varies(facts.own)


def _peer_varies(facts: Facts) -> bool:
    return nats_forbid(facts.own, facts.peer) and _varies(facts.peer)


RULES: Final[tuple[Rule, ...]] = (
    Rule("direct", _connected, "The path is direct."),
    Rule(
        "legacy",
        _state(PeerState.LEGACY),
        "It runs the predecessor, which answers no checks: its announced endpoint is used as it is.",
        (Remedy.UPGRADE_PEER, Remedy.PUBLISH_PEER),
    ),
    Rule(
        "unannounced",
        _state(PeerState.UNANNOUNCED),
        "It is listed, but its agent has announced nothing that counts.",
        (Remedy.START_PEER,),
    ),
    Rule(
        "silent",
        _state(PeerState.SILENT),
        "Data still flows, but its agent answers no checks: it is down or restarting, its tunnel "
        "is not.",
        (Remedy.START_PEER,),
    ),
    Rule(
        "no-candidates-here",
        lambda facts: not facts.own.families,
        "This host has no address that anybody could send to.",
        (Remedy.NETWORK_HERE,),
    ),
    Rule(
        "no-candidates-there",
        lambda facts: not facts.peer.families,
        "It has announced no address that we could send to.",
        (Remedy.NETWORK_THERE,),
    ),
    Rule(
        "no-common-family",
        _no_common_family,
        "The two hosts share no IP version: one has only IPv4, the other only IPv6.",
        (Remedy.SECOND_FAMILY, Remedy.DUAL_STACK_RELAY),
    ),
    Rule(
        "udp-blocked-here",
        lambda facts: facts.own.udp_blocked,
        "UDP does not get out of this network: no STUN server answers, and no peer.",
        (Remedy.OPEN_UDP_HERE, Remedy.RELAY_OVER_TLS),
    ),
    Rule(
        "udp-blocked-there",
        lambda facts: facts.peer.udp_blocked,
        "UDP does not seem to get out of its network: it has announced no public address.",
        (Remedy.OPEN_UDP_THERE, Remedy.RELAY_OVER_TLS),
    ),
    Rule(
        "data-blocked",
        _only_vetoed,
        "Checks pass, but WireGuard's packets are not answered: a firewall on the way lets STUN "
        "through and drops the rest.",
        (Remedy.ALLOW_WIREGUARD,),
    ),
    Rule(
        "opening",
        _state(PeerState.OPENING),
        "A path is selected, and WireGuard's handshake is under way.",
    ),
    Rule(
        "cannot-send",
        _every_send_fails,
        "This host itself refuses to send to every address of the peer.",
        (Remedy.LOCAL_FIREWALL,),
    ),
    Rule(
        "one-nat",
        _one_nat,
        "Both hosts are behind one NAT. It does not send back what is meant for itself "
        "(hairpinning), and they do not reach each other inside.",
        (Remedy.ALLOW_LAN, Remedy.HAIRPIN, Remedy.RELAY),
    ),
    Rule(
        "mapping-varies-both",
        _both_vary,
        "Both NATs give every destination another port, so neither host can tell the other where "
        "to send.",
        (Remedy.PUBLISH_ANY, Remedy.PORT_MAPPING_ANY, Remedy.RELAY),
    ),
    Rule(
        "mapping-varies-here",
        _own_varies,
        "The NAT of this host gives every destination another port, and the other side lets in "
        "only answers to what it has sent.",
        (Remedy.PUBLISH_HERE, Remedy.PORT_MAPPING_ANY, Remedy.PREDICTION, Remedy.RELAY),
    ),
    Rule(
        "mapping-varies-there",
        _peer_varies,
        "Its NAT gives every destination another port, and our side lets in only answers to what "
        "was sent.",
        (Remedy.PUBLISH_THERE, Remedy.PORT_MAPPING_ANY, Remedy.PREDICTION, Remedy.RELAY),
    ),
    Rule(
        "refused",
        _refused,
        "It refuses the pairs that work: WireGuard's packets do not get through to it.",
        (Remedy.ALLOW_WIREGUARD,),
    ),
    Rule(
        "one-way",
        _one_way,
        "Its checks arrive here, ours are not answered: one direction is dropped on the way.",
        (Remedy.FIREWALL_ANY, Remedy.PUBLISH_ANY),
    ),
    Rule(
        "no-answer",
        lambda facts: any(pair.checks_sent for pair in facts.direct_pairs),
        "No check of any pair is answered, and none of its checks arrive: its agent or host is "
        "off, or a firewall drops UDP.",
        (Remedy.START_PEER, Remedy.FIREWALL_ANY, Remedy.PUBLISH_ANY, Remedy.RELAY),
    ),
    Rule("not-tried", lambda facts: True, "No pair has been checked yet."),
)


def explain(facts: Facts) -> Rule:
    """Return the first rule that applies; the last one always does."""
    return next(rule for rule in RULES if rule.applies(facts))
