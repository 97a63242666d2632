"""A team of which half still runs kb-wireguard of 2020: both meet, and nothing of ours harms it."""

import json
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import TEAM, TOPIC, peer_of, simulator
from .traffic import Traffic

BOB = "198.18.113.2:51820"

ALICE_IP, BOB_IP = "100.64.7.1", "100.64.7.2"

PEERS = [
    {"username": "alice", "device": "laptop", "ip": ALICE_IP},
    {"username": "bob", "device": "desktop", "ip": BOB_IP},
]

SETTINGS = {
    "PEERS_JSON": json.dumps(PEERS),
    "BOB_ROLE": "predecessor",
    "BOB_ENDPOINT": BOB,
    "NAT_B_PUBLISHED": "51820",
}

MEET_SECONDS = 30.0
"""Until both have each other: it reads every five seconds, on a machine that runs other labs."""

MAPPING_SECONDS = 30
"""What the router in front of us keeps an idle mapping for: the least that RFC 4787 allows is 120,
and many keep it no longer than this."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Iterator[Lab]:
    lab = module_labs.up("pair.yaml", SETTINGS, services=["alice"])
    for name in ("timeout", "timeout_stream"):
        setting = f"net.netfilter.nf_conntrack_udp_{name}={MAPPING_SECONDS}"
        lab.exec("router-a", ["sysctl", "-qw", setting])
    # Its channel has to be there, and its user in it, before it starts.
    simulator(lab).order("join", TEAM, TOPIC, "bob/desktop")
    lab.start("bob")
    wait_until_they_meet(lab)
    yield lab
    assert "Traceback" not in lab.logs("bob")


def wait_until_they_meet(lab: Lab) -> None:
    def met() -> bool:
        peers = lab.status("alice").peers
        shown = shown_by_bob(lab)
        return (
            bool(peers)
            and peers[0].last_handshake is not None
            and shown.get("key") == lab.status("alice").self_.public_key
            and peers[0].public_key == shown["own"]
        )

    lab.wait_for(met, MEET_SECONDS, "alice and the predecessor have each other")
    lab.exec("alice", ["ping", "-c", "2", "-i", "0.2", "-W", "3", BOB_IP])


def shown_by_bob(lab: Lab) -> dict[str, str]:
    """Read its WireGuard: own key, and the peer's line of `wg show dump`."""
    done = lab.exec("bob", ["wg", "show", "kbwg0", "dump"], check=False)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    if not lines:
        return {}
    found = {"own": lines[0][1]}
    if len(lines) == 2:
        names = ("key", "psk", "endpoint", "allowed", "handshake", "rx", "tx", "keepalive")
        found |= dict(zip(names, lines[1], strict=True))
    return found


def test_each_is_a_peer_of_the_other_as_the_other_means_it(lab: Lab) -> None:
    peer = peer_of(lab.status("alice"), "bob")
    assert (peer.state, str(peer.ip), peer.endpoint) == ("legacy", BOB_IP, BOB)
    assert f"allowed ips: {BOB_IP}/32" in lab.exec("alice", ["wg", "show", "kbwg0"]).stdout

    bobs = shown_by_bob(lab)
    assert bobs["allowed"] == f"{ALICE_IP}/32"
    assert bobs["endpoint"].startswith("198.18.100.2:"), "what alice's STUN servers have seen"
    assert bobs["keepalive"] == "off"


def test_data_passes_both_ways_without_loss(lab: Lab) -> None:
    with Traffic(lab, ("alice", ip_address(ALICE_IP)), ("bob", ip_address(BOB_IP))) as meter:
        time.sleep(5)
        report = meter.stop()

    assert report.a_to_b.sent > 200
    assert report.lost_count == 0


def test_we_keep_the_nat_open_because_it_does_not(lab: Lab) -> None:
    time.sleep(MAPPING_SECONDS + 3)

    lab.exec("bob", ["ping", "-c", "1", "-W", "3", ALICE_IP])
    shown = lab.exec("alice", ["wg", "show", "kbwg0", "persistent-keepalive"]).stdout
    assert shown.split()[1] == "25"


def test_nothing_that_is_said_on_the_channel_harms_it(lab: Lab) -> None:
    """We go and come again, and do not follow it into what its rules take for announcements."""
    admin = simulator(lab)
    before = shown_by_bob(lab)
    strange = "ANNOUNCE 198.18.113.66:4000 " + "A" * 43 + "="
    admin.post(TEAM, TOPIC, "mallory/pc", strange)
    assert lab.stop("alice") == 0
    lab.start("alice")
    wait_until_they_meet(lab)

    assert lab.running("bob")
    assert shown_by_bob(lab)["key"] == before["key"], "its peer of ours has kept its key"
    lines = [m["content"] for m in admin.messages(TEAM, TOPIC) if m["sender"] == "alice/laptop"]
    texts = [c["text"]["body"] for c in lines if c["type"] == "text"]
    assert any(text.startswith("LEAVE ") for text in texts)


def test_its_restart_with_another_key_is_followed(lab: Lab) -> None:
    former = shown_by_bob(lab)["own"]
    assert lab.stop("bob") == 0
    lab.start("bob")
    lab.wait_for(lambda: shown_by_bob(lab).get("own") not in (None, former), 20, "it is back")

    wait_until_they_meet(lab)

    peers = lab.exec("alice", ["wg", "show", "kbwg0", "peers"]).stdout.split()
    assert peers == [shown_by_bob(lab)["own"]]


def test_where_posts_explode_we_stop_posting_before_it_could_crash(lab: Lab) -> None:
    admin = simulator(lab)
    admin.order("ephemeral-policy", TEAM, TOPIC, "on")
    posted = len(admin.messages(TEAM, TOPIC, "chat"))
    # A new announcement, because the one that is in force is withdrawn.
    last = [m["id"] for m in admin.messages(TEAM, TOPIC, "chat") if m["sender"] == "alice/laptop"]
    admin.delete(TEAM, TOPIC, "alice/laptop", last[-1])

    lab.wait_for(
        lambda: any(h.code == "channel-explodes" for h in lab.status("alice").health),
        20,
        "health says that posts explode",
    )
    lab.wait_for(
        lambda: any(
            m["content"]["type"] == "text" and m["sender"] == "alice/laptop"
            for m in admin.messages(TEAM, TOPIC, "dev")
        ),
        20,
        "alice announces herself in DEV",
    )

    ours = admin.messages(TEAM, TOPIC, "chat")[posted:]
    exploding = [
        m for m in ours if m["sender"] == "alice/laptop" and m["content"]["type"] == "text"
    ]
    assert len(exploding) == 1, "the one that told us"
    assert lab.running("bob")
    lab.exec("bob", ["ping", "-c", "1", "-W", "3", ALICE_IP])
