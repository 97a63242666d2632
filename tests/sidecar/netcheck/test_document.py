"""What `kbwg netcheck` concludes, advises and prints."""

from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Literal

import pytest
from rich.console import Console

from sidecar.netcheck.document import Netcheck, compose, of_status
from sidecar.netcheck.table import render
from sidecar.status import (
    NatStatus,
    PortMappingState,
    PortMappingStatus,
    RelayStatus,
    SelfStatus,
    Status,
    StunServerStatus,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)

MappingWord = Literal["none", "endpoint-independent", "address-and-port-dependent", "unknown"]
FilteringWord = Literal["endpoint-independent", "address-and-port-dependent", "unknown"]


def nat(
    mapping: MappingWord = "endpoint-independent",
    filtering: FilteringWord = "address-and-port-dependent",
) -> NatStatus:
    return NatStatus(
        address="192.168.1.2",
        mapping=mapping,
        filtering=filtering,
        hairpinning=False,
        port_preservation=True,
        public_address="203.0.113.1",
        tested=AT,
    )


def gateway(
    *, external: str | None = None, refusal: str | None = None, private: bool = False
) -> PortMappingStatus:
    return PortMappingStatus(
        gateway="192.168.1.1",
        interface="eth0",
        state=PortMappingState.MAPPED if external else PortMappingState.RESTING,
        found=("pcp",) if external or refusal else (),
        protocol="pcp" if external else None,
        internal="192.168.1.2:20000",
        external=external,
        behind_another_nat=private,
        expires_in_seconds=7200 if external else None,
        refusal=refusal,
    )


def server(number: int, *, answers: bool = True, rfc5780: bool = True) -> StunServerStatus:
    return StunServerStatus(
        server=f"198.51.100.{number}:3478",
        mapped="203.0.113.1:20000" if answers else None,
        rtt_ms=12.5 if answers else None,
        rfc5780=rfc5780,
    )


def relay(*, relayed: tuple[str, ...] = (), trouble: str | None = None) -> RelayStatus:
    return RelayStatus(
        server="turn:198.51.100.9:3478", relayed=relayed, rtt_ms=12.5, trouble=trouble
    )


RELAYING = relay(relayed=("198.51.100.9:50000",))
REFUSING = relay(trouble="refuses the credentials")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found, with what most homes have as the defaults."""

    stun: tuple[StunServerStatus, ...] = (server(1), server(2))
    turn: tuple[RelayStatus, ...] = ()
    nat: tuple[NatStatus, ...] = (nat(),)
    port_mapping: tuple[PortMappingStatus, ...] = (gateway(),)
    off: bool = False

    @property
    def netcheck(self) -> Netcheck:
        return compose(
            agent=True,
            port=20000,
            addresses=["192.168.1.2"],
            stun=self.stun,
            turn=self.turn,
            nat=self.nat,
            port_mapping=self.port_mapping,
            port_mapping_off=self.off,
        )


MAPPED = gateway(external="203.0.113.1:20000")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Found(), ["Switch on PCP, NAT-PMP or UPnP", "20000", "behind symmetric NATs"]),
        (Found(nat=(nat("address-and-port-dependent"),)), ["make every path direct"]),
        (Found(off=True, port_mapping=()), ["KBWG_PORT_MAPPING=on"]),
        (
            Found(port_mapping=(gateway(refusal="PCP: NOT_AUTHORIZED"),)),
            ["refuses", "NOT_AUTHORIZED"],
        ),
        (
            Found(port_mapping=(gateway(external="100.64.0.2:20000", private=True),)),
            ["itself behind a NAT", "100.64.0.2"],
        ),
        (Found(stun=(), nat=()), ["KBWG_STUN_SERVERS"]),
        (Found(stun=(server(1),), port_mapping=(MAPPED,)), ["second STUN server"]),
        (
            Found(nat=(nat(filtering="unknown"),), port_mapping=(MAPPED,)),
            ["RFC 5780", "nothing depends on it"],
        ),
        (
            Found(stun=(server(1, answers=False), server(2, answers=False)), nat=()),
            ["Allow outgoing UDP", "name a TURN server"],
        ),
        (
            Found(stun=(server(1, answers=False),), nat=(), turn=(RELAYING,)),
            ["Allow outgoing UDP", "a TURN server carries everything"],
        ),
        (
            Found(turn=(REFUSING,)),
            ["turn:198.51.100.9:3478 refuses the credentials", "no relay"],
        ),
    ],
)
def test_what_would_help_is_said(found: Found, words: list[str]) -> None:
    advice = " ".join(found.netcheck.advice)

    assert all(word in advice for word in words), advice


@pytest.mark.parametrize(
    "found",
    [
        Found(port_mapping=(MAPPED,)),
        Found(port_mapping=(MAPPED,), turn=(RELAYING, REFUSING)),
        Found(nat=(nat("none", "endpoint-independent"),)),
        Found(nat=(nat("endpoint-independent", "endpoint-independent"),)),
    ],
)
def test_nothing_is_said_where_nothing_is_to_be_done(found: Found) -> None:
    assert found.netcheck.advice == ()
    assert "every peer" in found.netcheck.verdicts[0]


def test_a_port_that_was_only_tried_is_not_to_be_forwarded() -> None:
    found = Found().netcheck.model_dump()
    alone = compose(
        agent=False,
        port=40000,
        addresses=found["addresses"],
        stun=Found().stun,
        nat=Found().nat,
        port_mapping=Found().port_mapping,
        port_mapping_off=False,
    )

    assert "40000" not in " ".join(alone.advice)
    assert "WireGuard's UDP port" in " ".join(alone.advice)


def test_that_no_server_answers_is_that_udp_is_blocked() -> None:
    netcheck = Found(stun=(server(1, answers=False),), nat=(nat("unknown", "unknown"),)).netcheck

    assert netcheck.udp_blocked
    assert netcheck.verdicts == ("No STUN server answers: this network seems to block UDP.",)


def test_a_mapping_that_helps_only_behind_another_nat_is_no_way_in() -> None:
    private = gateway(external="100.64.0.2:20000", private=True)

    assert "The NAT of most homes" in Found(port_mapping=(private,)).netcheck.verdicts[0]


def test_a_running_agent_s_status_holds_it_all() -> None:
    status = Status(
        agent_version="0",
        started=AT,
        self_=SelfStatus(
            username="alice",
            device="laptop",
            ip=None,
            public_key="key",
            listen_port=20000,
            candidates=(
                "1 1 udp 2130706431 192.168.1.2 20000 typ host",
                "2 1 udp 1694498815 203.0.113.1 20000 typ srflx",
            ),
            nat=(nat(),),
            stun=(server(1), server(2)),
            relays=(RELAYING,),
            port_mapping=(gateway(),),
            backend="kernel",
            interface="kbwg0",
            team="acme",
            subnet="100.64.7.0/24",
        ),
        peers=(),
        health=(),
    )

    assert of_status(status, port_mapping_off=False) == Found(turn=(RELAYING,)).netcheck


def test_it_reads_well() -> None:
    out = StringIO()
    found = Found(stun=(server(1), server(2, answers=False)), turn=(RELAYING, REFUSING, relay()))
    render(found.netcheck, Console(file=out, width=100))
    text = out.getvalue()

    assert text.startswith("The NAT of most homes")
    assert "198.51.100.1:3478  sees 203.0.113.1:20000  12.5 ms, RFC 5780" in text
    assert "198.51.100.2:3478  no answer" in text
    assert "turn:198.51.100.9:3478  relays from 198.51.100.9:50000  12.5 ms" in text
    assert "turn:198.51.100.9:3478  refuses the credentials" in text
    assert "turn:198.51.100.9:3478  stands by  12.5 ms" in text
    assert "filtering          address-and-port-dependent" in text
    assert "192.168.1.1 (eth0)  speaks neither PCP nor NAT-PMP nor UPnP" in text
    assert "- Switch on PCP" in text
