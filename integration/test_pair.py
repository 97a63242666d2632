"""Two peers behind NATs of every common kind become each other's direct path."""

import time

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import peer_of, ping_all, simulator, traffic, wait_connected

BOTH = ("alice", "bob")

EIM = "endpoint-independent"
APDM = "address-and-port-dependent"
EIF = "endpoint-independent"
ADF = "address-dependent"
APDF = "address-and-port-dependent"


IN_DOCKER_TOO = pytest.mark.executors("namespaces", "docker")
EVERYWHERE = pytest.mark.executors("namespaces", "docker", "uml")


@pytest.mark.parametrize(
    ("a", "b", "kinds"),
    [
        pytest.param(
            ("none", EIF), ("none", EIF), ("host", "host"), id="no NAT", marks=IN_DOCKER_TOO
        ),
        pytest.param((EIM, EIF), (EIM, EIF), ("srflx", "srflx"), id="EIM/EIF"),
        pytest.param((EIM, ADF), (EIM, ADF), ("srflx", "srflx"), id="EIM/ADF"),
        pytest.param((EIM, APDF), (EIM, APDF), ("srflx", "srflx"), id="EIM/APDF", marks=EVERYWHERE),
        pytest.param(
            (APDM, APDF),
            (EIM, EIF),
            ("prflx", "srflx"),
            id="symmetric x full cone",
            marks=pytest.mark.executors("namespaces", "docker", "uml"),
        ),
    ],
)
def test_every_cell_has_the_path_that_its_nats_allow(
    labs: Labs, a: tuple[str, str], b: tuple[str, str], kinds: tuple[str, str]
) -> None:
    lab = labs.up(
        "pair.yaml",
        {
            "NAT_A_MAPPING": a[0],
            "NAT_A_FILTERING": a[1],
            "NAT_B_MAPPING": b[0],
            "NAT_B_FILTERING": b[1],
        },
    )
    wait_connected(lab, BOTH)
    ping_all(lab, BOTH)

    alice = peer_of(lab.status("alice"), "bob").path
    bob = peer_of(lab.status("bob"), "alice").path
    assert alice is not None
    assert bob is not None
    assert (alice.local.kind, alice.remote.kind) == kinds
    assert (bob.remote.kind, bob.local.kind) == kinds
    assert alice.kind == bob.kind
    assert not alice.relayed
    assert alice.remote.address == bob.local.address


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    return lab


def test_the_agents_death_for_a_minute_loses_no_packet(lab: Lab) -> None:
    with traffic(lab, *BOTH) as flow:
        lab.kill("bob")
        died = time.monotonic()
        lab.wait_for(
            lambda: peer_of(lab.status("alice"), "bob").state == "silent", 20, "bob is silent"
        )
        time.sleep(60 - (time.monotonic() - died))
        assert not lab.running("bob")
        path = peer_of(lab.status("alice"), "bob").path
        assert path is not None, "a silent agent is no reason to give up a path that carries data"
        lab.start("bob")
        wait_connected(lab, BOTH)
        report = flow.stop()

    assert report.a_to_b.sent > 60 * 50
    assert report.lost_count == 0


def test_the_stun_server_may_go(lab: Lab) -> None:
    with traffic(lab, *BOTH) as flow:
        lab.kill("stun")
        time.sleep(8)
        report = flow.stop()
    lab.start("stun")

    wait_connected(lab, BOTH)
    assert report.a_to_b.sent > 6 * 50
    assert report.lost_count == 0


def test_chat_may_go(lab: Lab) -> None:
    admin = simulator(lab)
    with traffic(lab, *BOTH) as flow:
        admin.stop_service("alice/laptop")
        time.sleep(8)
        wait_connected(lab, BOTH)
        admin.start_service("alice/laptop")
        report = flow.stop()

    assert report.a_to_b.sent > 6 * 50
    assert report.lost_count == 0
