"""The lab itself: nodes that see only themselves, and nothing left of them afterwards."""

import os
import signal
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from .behaviour import Filtering, Mapping, Nat
from .conftest import COMPOSE, REPOSITORY, Labs
from .errors import CommandError, LabError, LabTimeoutError, TopologyError
from .lab import Lab, sweep
from .labs import processes
from .labs.state import ROOT
from .traffic import Traffic

OPEN = Nat(mapping=Mapping.NONE, filtering=Filtering.ENDPOINT_INDEPENDENT).settings("NAT")
"""A plain router: both sides reach each other."""

INSIDE, OUTSIDE = ip_address("192.168.1.10"), ip_address("198.18.113.10")


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def traces(name: str) -> dict[str, object]:
    """All that a lab could leave on this machine."""
    return {
        "namespaces": [line for line in run("ip", "netns").splitlines() if name in line],
        "mounts": [
            line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line
        ],
        "links": run("ip", "-oneline", "link"),
        "sysctls": [run("sysctl", "-n", key) for key in ("net.ipv4.ip_forward",)],
        "rules": run("nft", "list", "ruleset"),
        "directory": (ROOT / name).exists(),
        "files": [(directory / "kbwg").exists() for directory in (Path("/run"), Path("/var/lib"))],
    }


def test_nothing_is_left_of_a_lab() -> None:
    before = traces("left")
    with Lab.up(COMPOSE / "nat.yaml", OPEN, "left") as lab:
        lab.exec("inside-1", ["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"])
        namespaces = [
            Path("/run/netns", name) for name in os.listdir("/run/netns") if "left" in name
        ]
        inodes = {path.stat().st_ino for path in namespaces}
        assert len(namespaces) == 6, "five nodes and the switch"
        assert sum(len(processes.in_network_namespace(path)) for path in namespaces) >= 5
        assert traces("left")["links"] == before["links"], "nothing appears on the host itself"

    assert traces("left") == before
    assert not inodes & {
        entry.stat().st_ino
        for entry in Path("/proc").glob("[0-9]*/ns/net")
        if os.path.exists(entry)
    }


def test_two_labs_with_the_same_addresses_do_not_meet(labs: Labs) -> None:
    one, two = labs.up("nat.yaml", OPEN), labs.up("nat.yaml", OPEN)
    two.stop("outside-1")
    two.set_link("outside-1", "wan", up=False)

    one.exec("inside-1", ["ping", "-c1", "-W1", str(OUTSIDE)])
    with pytest.raises(CommandError):
        two.exec("inside-1", ["ping", "-c1", "-W1", str(OUTSIDE)])


def test_a_lab_whose_owner_was_killed_is_swept() -> None:
    name = f"crash{os.getpid()}"
    program = (
        "import os, signal, sys; from pathlib import Path; from integration.lab import Lab;"
        f"Lab.up(Path({str(COMPOSE / 'nat.yaml')!r}), name={name!r});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    before = traces(name)
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert traces(name) != before

    assert name in sweep()
    assert traces(name) == before


def test_a_lab_that_was_half_made_is_removed_by_its_name() -> None:
    name = f"half{os.getpid()}"
    before = traces(name)
    lab = Lab.up(COMPOSE / "nat.yaml", OPEN, name)
    subprocess.run(["rm", "-r", ROOT / name], check=True)

    lab.down()
    assert traces(name) == before


def test_a_node_writes_only_to_itself(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    for path in ("/tmp/kbwg-lab-test", "/var/lib/kbwg-lab-test", "/run/kbwg/test", "/run/home/x"):
        lab.exec("inside-1", ["sh", "-c", f"echo mine >{path}; cat {path}"])
        assert not os.path.exists(path)
        with pytest.raises(CommandError):
            lab.exec("inside-2", ["cat", path])
    with pytest.raises(CommandError, match="Read-only file system"):
        lab.exec("inside-1", ["touch", "/kbwg-lab-test"])


def test_a_node_sees_its_own_processes_interfaces_and_name(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    assert lab.exec("inside-1", ["cat", "/proc/sys/kernel/hostname"]).stdout == "inside-1\n"
    assert lab.exec("router", ["ls", "/sys/class/net"]).stdout.split() == ["eth0", "eth1", "lo"]
    assert lab.exec("inside-1", ["sh", "-c", "echo /proc/[0-9]*"]).stdout.split()[0] == "/proc/1"
    assert lab.exec("inside-1", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "0\n"
    assert lab.exec("router", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"


def test_the_environment_of_a_node_is_what_the_file_says(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    names = {line.partition("=")[0] for line in lab.exec("inside-1", ["env"]).stdout.splitlines()}
    assert names == {"GATEWAY", "HOME", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}


def test_killing_a_main_process_leaves_the_node_and_its_helpers(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    lab.exec("inside-1", ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $! >/run/helper"])

    lab.kill("inside-1")
    lab.wait_for(lambda: not lab.running("inside-1"), 5, "it died")
    lab.exec("inside-1", ["sh", "-c", "kill -0 $(cat /run/helper)"])
    with pytest.raises(LabError, match="does not run"):
        lab.kill("inside-1")

    lab.exec("inside-1", ["rm", "/run/kbwg-node.ready"])
    lab.start("inside-1")
    lab.wait_for(lambda: lab.exec("inside-1", ["test", "-e", "/run/kbwg-node.ready"]), 5, "ready")
    assert lab.stop("inside-1") == 0, "a node ends cleanly on SIGTERM"
    lab.exec("inside-1", ["sh", "-c", "kill -0 $(cat /run/helper)"])


def test_an_orphan_leaves_no_remains(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    lab.exec("inside-1", ["sh", "-c", "(sleep 0.01 >/dev/null 2>&1 &)"])
    # The first process, the main one, and the pattern's own shell.
    lab.wait_for(
        lambda: len(lab.exec("inside-1", ["sh", "-c", "echo /proc/[0-9]*"]).stdout.split()) == 3,
        5,
        "the orphan is reaped",
    )


def test_a_command_that_takes_too_long_is_killed(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    with pytest.raises(CommandError, match="took too long"):
        lab.exec("inside-1", ["sleep", "4321"], timeout=0.2)
    assert "4321" not in lab.exec("inside-1", ["ps", "-ef"]).stdout


def test_traffic_counts_every_datagram_that_is_lost(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    with Traffic(lab, ("inside-1", INSIDE), ("outside-1", OUTSIDE)) as traffic:
        time.sleep(0.5)
        drop = lab.drop("router", f"ip saddr {INSIDE} udp dport 7007")
        lab.wait_for(lambda: drop.packets >= 10, 5, "ten datagrams are dropped")
        drop_count = drop.packets
        drop.remove()
        time.sleep(0.3)
        report = traffic.stop()

    assert report.b_to_a.lost == (), "one direction only"
    assert len(report.a_to_b.lost) == 1, "in one run"
    # Those that came between the look at the counter and the removal were dropped as well.
    assert drop_count <= report.a_to_b.lost_count <= drop_count + 5
    assert report.a_to_b.received == report.a_to_b.sent - report.a_to_b.lost_count
    assert report.a_to_b.longest_gap >= 10 / 50
    assert report.a_to_b.sent >= 0.8 * 50
    assert report.b_to_a.duplicated == report.b_to_a.refused == 0


def test_a_pulled_cable_stops_everything_until_it_is_back(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    ping = ["ping", "-c1", "-W1", str(OUTSIDE)]
    lab.set_link("inside-1", "lan", up=False)
    assert "NO-CARRIER" in lab.exec("inside-1", ["ip", "link", "show", "eth0"]).stdout
    with pytest.raises(CommandError):
        lab.exec("inside-1", ping)

    lab.set_link("inside-1", "lan", up=True)
    lab.wait_for(lambda: lab.exec("inside-1", ping), 5, "the network is back")


def test_a_capture_holds_the_packets(labs: Labs) -> None:
    lab = labs.up("nat.yaml", OPEN)
    capture = lab.capture("router", "icmp")
    lab.exec("inside-1", ["ping", "-c1", str(OUTSIDE)])
    path = capture.stop()
    listing = subprocess.run(
        ["tcpdump", "-nr", path], capture_output=True, text=True, check=True
    ).stdout
    # Request and reply, each on both interfaces.
    assert listing.count("ICMP echo") == 4


def test_a_service_that_fails_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lab, "artifacts", tmp_path / "artifacts")
    file = tmp_path / "broken.yaml"
    file.write_text(
        "services:\n"
        "  broken:\n"
        "    command: sh -c 'echo out of luck; exit 3'\n"
        "    network_mode: none\n"
        "    healthcheck: {test: 'false'}\n"
    )
    name = f"broken{os.getpid()}"
    before = traces(name)
    with pytest.raises(LabError, match="broken ended before it was healthy:\nout of luck"):
        Lab.up(file, name=name)
    assert traces(name) == before
    assert (tmp_path / "artifacts" / name / "broken" / "log.txt").read_text() == "out of luck\n"


def test_a_service_that_never_gets_healthy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lab, "artifacts", None)
    file = tmp_path / "slow.yaml"
    file.write_text(
        "services:\n"
        "  slow:\n"
        "    command: sleep 1000\n"
        "    network_mode: none\n"
        "    healthcheck: {test: 'false'}\n"
    )
    with pytest.raises(LabTimeoutError, match="slow does not get healthy"):
        Lab.up(file, name=f"slow{os.getpid()}", timeout=0.2)


def test_names_are_checked(labs: Labs) -> None:
    with pytest.raises(LabError, match="name"):
        Lab.up(COMPOSE / "nat.yaml", name="../etc")
    with pytest.raises(LabError, match="no lab nowhere is up"):
        Lab.attach("nowhere")
    lab = labs.up("nat.yaml")
    with pytest.raises(LabError, match="is up; end it by"):
        Lab.up(COMPOSE / "nat.yaml", name=lab.name)
    with pytest.raises(TopologyError, match="no service nobody"):
        lab.exec("nobody", ["true"])
    with pytest.raises(TopologyError, match="did you mean NAT_MAPPING"):
        labs.up("nat.yaml", {"NAT_MAPING": "none"})
