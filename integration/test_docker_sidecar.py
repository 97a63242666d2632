"""The image as users run it: one container a host, an application beside it, and every crash."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .errors import LabError
from .labs import docker
from .mesh import peer_of
from .sidecars import BUSY_SECONDS, PAPER_KEYS, REKEY_SECONDS, Sidecars, flow
from .waiting import wait_for

pytestmark = [pytest.mark.executors("docker"), pytest.mark.timeout(240)]

BOTH = ("alice", "bob")

NET_ADMIN, NET_RAW = 12, 13


@pytest.fixture(scope="module")
def hosts() -> Iterator[Sidecars]:
    running = Sidecars("sidecars")
    running.down_leftovers()
    running.create()
    try:
        running.up("alice", device="laptop")
        running.up("bob")
        running.wait_connected(*BOTH)
        yield running
    finally:
        running.down()


def test_two_variables_and_a_login_make_a_member(hosts: Sidecars) -> None:
    assert "connected" in hosts.exec("alice", ["kbwg", "status"])
    alice, bob = hosts.status("alice"), hosts.status("bob")
    assert alice.self_.device == "laptop", "a named device"
    assert bob.self_.device == "coat paper", "a oneshot is the paper key's own device"
    path = peer_of(alice, "bob").path
    assert path is not None
    assert path.kind == "host"
    check = json.loads(
        docker.docker(
            ["inspect", "-f", "{{json .Config.Healthcheck.Test}}", hosts.container("bob")]
        )
    )
    hosts.exec("bob", check[1:])


def test_an_application_is_in_the_mesh_by_sharing_the_network(hosts: Sidecars) -> None:
    target = f"http://{hosts.status('alice').self_.ip}:8080/"
    script = f"import urllib.request as r; print(r.urlopen({target!r}, timeout=10).status)"

    assert hosts.exec("bob", ["python3", "-c", script], service="app").strip() == "200"


def test_nothing_has_more_privileges_than_it_needs(hosts: Sidecars) -> None:
    for pid, line in hosts.processes("alice").items():
        status = dict(
            entry.split(":\t", 1)
            for entry in Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in entry
        )
        uid, effective = int(status["Uid"].split()[0]), int(status["CapEff"], 16)
        if "supervise" in line:
            assert not effective >> NET_ADMIN & 1 or uid == 0
        elif "kbwg run" in line or "wireguard-go" in line:
            assert (uid, effective) == (1000, 1 << NET_ADMIN | 1 << NET_RAW), line
        else:
            assert (uid, effective, status["NoNewPrivs"]) == (1000, 0, "1"), line


def test_the_paper_key_is_seen_nowhere(hosts: Sidecars) -> None:
    for user in BOTH:
        words = PAPER_KEYS[user]
        assert words not in docker.docker(["inspect", hosts.container(user)])
        assert words not in hosts.logs(user)
        for pid in hosts.processes(user):
            for file in ("cmdline", "environ"):
                seen = Path(f"/proc/{pid}/{file}").read_bytes().replace(b"\0", b" ")
                assert words.encode() not in seen, f"{file} of {pid}"


@pytest.mark.parametrize("program", ["kbwg run", "keybase service", "kbfsfuse"])
def test_no_tunnel_notices_the_death_of(hosts: Sidecars, program: str) -> None:
    before = {
        name: hosts.process("bob", name)
        for name in ("kbwg run", "wireguard-go", "kbfsfuse")
        if name != program
    }
    with flow(hosts) as meter:
        victim = hosts.process("bob", program)
        victim.signal(signal.SIGKILL)
        wait_for(lambda: not victim.alive, 5, f"{program} is dead")
        wait_for(lambda: _back(hosts, program), 30, f"{program} is back")
        hosts.wait_connected(*BOTH)
        report = meter.stop()

    assert report.lost_count == 0
    assert all(process.alive for process in before.values()), "only what died is started again"


def test_no_tunnel_notices_that_the_kernel_kills_the_agent_for_its_memory(hosts: Sidecars) -> None:
    name = hosts.container("bob")
    limit = 400 << 20
    agent = hosts.process("bob", "kbwg run")
    before = {p: hosts.process("bob", p) for p in ("wireguard-go", "kbfsfuse", "keybase service")}
    with flow(hosts) as meter:
        # Of those that share the limit the agent is the one to go; then whoever wants too much.
        Path(f"/proc/{agent.pid}/oom_score_adj").write_text("1000")
        docker.docker(["update", f"--memory={limit}", f"--memory-swap={limit}", name])
        try:
            greed = ["exec", name, "python3", "-c", f"bytearray({limit})"]
            subprocess.run(["docker", *greed], capture_output=True, timeout=60, check=False)
        finally:
            docker.docker(["update", "--memory=0", "--memory-swap=-1", name])
        assert not agent.alive, "the kernel has killed it"
        wait_for(lambda: _back(hosts, "kbwg run"), 30, "it is back")
        hosts.wait_connected(*BOTH)
        report = meter.stop()

    assert report.lost_count == 0
    assert all(process.alive for process in before.values()), "only what died is started again"


def _back(hosts: Sidecars, program: str) -> bool:
    try:
        return hosts.process("bob", program).alive
    except LabError:
        return False


def test_wireguard_go_is_back_two_seconds_after_its_death(hosts: Sidecars) -> None:
    with flow(hosts) as meter:
        time.sleep(1)
        hosts.process("bob", "wireguard-go").signal(signal.SIGKILL)
        time.sleep(6)
        report = meter.stop()

    assert report.a_to_b.received > 100
    assert 0 < max(report.a_to_b.longest_gap, report.b_to_a.longest_gap) < 2.0
    assert hosts.connected(*BOTH)


@pytest.mark.parametrize(
    ("how", "seconds"), [("restart", 5.0), ("kill and start", 5.0 + REKEY_SECONDS)]
)
def test_a_container_is_back_seconds_after(hosts: Sidecars, how: str, seconds: float) -> None:
    key, ip = hosts.status("bob").self_.public_key, hosts.status("bob").self_.ip
    name = hosts.container("bob")
    if how == "restart":
        docker.docker(["restart", "--time=20", name])
    else:
        docker.docker(["kill", name])
        docker.docker(["start", name])
    started = time.monotonic()
    hosts.wait_connected(*BOTH)
    took = time.monotonic() - started

    assert (hosts.status("bob").self_.public_key, hosts.status("bob").self_.ip) == (key, ip)
    assert took < seconds + BUSY_SECONDS, f"{took:.1f} s"


def test_stopping_leaves_nothing_behind_and_peers_drop_us_at_once(hosts: Sidecars) -> None:
    name = hosts.container("bob")
    docker.docker(["stop", "--time=20", name])
    try:
        assert docker.docker(["inspect", "-f", "{{.State.ExitCode}}", name]).strip() == "0"
        links = json.loads(hosts.exec("bob", ["ip", "-j", "link"], service="net"))
        assert [link["ifname"] for link in links] == ["lo", "eth0"]
        assert "kbwg" not in hosts.exec("bob", ["ip", "rule"], service="net")
        wait_for(lambda: not hosts.status("alice").peers, 3, "alice drops bob")
    finally:
        docker.docker(["start", name])
        hosts.wait_connected(*BOTH)


def test_down_holds_until_the_container_is_restarted(hosts: Sidecars) -> None:
    hosts.exec("bob", ["kbwg", "down"])
    links = json.loads(hosts.exec("bob", ["ip", "-j", "link"], service="net"))
    assert [link["ifname"] for link in links] == ["lo", "eth0"]
    wait_for(lambda: not hosts.status("alice").peers, 3, "alice drops bob")
    time.sleep(2)
    assert "kbwg run" not in " ".join(hosts.processes("bob").values())

    docker.docker(["restart", hosts.container("bob")])
    hosts.wait_connected(*BOTH)


def test_one_user_with_two_capabilities_and_nothing_writable_is_enough(hosts: Sidecars) -> None:
    (hosts.secret("alice")).chmod(0o644)
    hosts.up("alice", device="laptop", files=["unprivileged"])
    hosts.wait_connected(*BOTH)

    assert hosts.status("alice").self_.device == "laptop"
    for pid, line in hosts.processes("alice").items():
        assert Path(f"/proc/{pid}").stat().st_uid == 1000, line
    for program in ("kbwg run", "wireguard-go"):
        pid = hosts.process("alice", program).pid
        assert f"CapEff:\t{1 << NET_ADMIN | 1 << NET_RAW:016x}" in (
            Path(f"/proc/{pid}/status").read_text()
        )


def test_net_admin_alone_is_enough(hosts: Sidecars) -> None:
    hosts.secret("alice").chmod(0o644)
    hosts.up("alice", device="laptop", files=["net-admin"])
    hosts.wait_connected(*BOTH)

    pid = hosts.process("alice", "kbwg run").pid
    assert f"CapEff:\t{1 << NET_ADMIN:016x}" in Path(f"/proc/{pid}/status").read_text()
    with flow(hosts) as meter:
        time.sleep(3)
        report = meter.stop()
    assert report.a_to_b.received > 100
    assert report.lost_count == 0
    counters = hosts.status("alice").counters
    assert counters["port-received"] > 0
    name = hosts.container("alice")
    docker.docker(["stop", "--time=20", name])
    try:
        tables = hosts.exec("alice", ["ip", "-br", "link"], service="net")
        assert "kbwg0" not in tables
    finally:
        docker.docker(["start", name])


def test_the_teams_file_is_edited_from_within_a_container(hosts: Sidecars) -> None:
    """As root, by `docker exec`. The last of the pair's tests: whoever is listed stays a peer."""
    hosts.wait_connected(*BOTH)
    alice, bob = hosts.status("alice").self_, hosts.status("bob").self_
    assert "there is no peers.json" in hosts.exec("bob", ["kbwg", "peers", "list"])

    for name, ip in ((f"alice/{alice.device}", alice.ip), (f"bob/{bob.device}", bob.ip)):
        added = hosts.exec("bob", ["kbwg", "peers", "add", name, str(ip)])
        assert "written and read back" in added

    listed = hosts.exec("bob", ["kbwg", "peers", "list"])
    assert [line.rsplit(maxsplit=2)[1] for line in listed.splitlines()[1:]] == [
        str(alice.ip),
        str(bob.ip),
    ]


REFUSALS = {
    "no capability": (["--device=/dev/net/tun"], "--cap-add NET_ADMIN"),
    "no device": (["--cap-add=NET_ADMIN", "--env=KBWG_BACKEND=userspace"], "--device /dev/net/tun"),
    "root that may not change": (
        ["--cap-drop=ALL", "--cap-add=NET_ADMIN", "--device=/dev/net/tun"],
        "`--user kbwg`",
    ),
    "no new privileges": (
        ["--cap-add=NET_ADMIN", "--user=kbwg", "--security-opt=no-new-privileges"],
        "no-new-privileges",
    ),
    "no login": (["--cap-add=NET_ADMIN", "--device=/dev/net/tun"], "set KBWG_KEYBASE_USERNAME"),
    "no team": (["--env=KBWG_TEAM="], "KBWG_TEAM: is not set"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_container_that_lacks_something_says_what(case: str) -> None:
    options, words = REFUSALS[case]
    needed = ["--env=KBWG_TEAM=acme.vpn", "--env=KBWG_SUBNET=100.64.7.0/24"]
    result = subprocess.run(
        ["docker", "run", "--rm", "--network=none", *needed, *options, "kbwg:standin"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == 2


@pytest.mark.parametrize("file", ["sidecar.yaml", "sidecar-bridge.yaml", "app.yaml"])
def test_the_files_for_users_are_what_compose_accepts(file: str) -> None:
    shown = docker.compose(
        "kbwglab-config",
        ["--file", str(docker.REPOSITORY / "compose" / file), "config", "--format=json"],
        variables={"KBWG_TEAM": "acme.vpn", "KBWG_SUBNET": "100.64.7.0/24"},
    )
    kbwg = json.loads(shown)["services"]["kbwg"]

    assert kbwg["read_only"]
    assert kbwg["cap_drop"] == ["ALL"]
    assert "paperkey" in {secret["source"] for secret in kbwg["secrets"]}
    if kbwg["network_mode"] == "host":
        assert "sysctls" not in kbwg, "the engine refuses net.* sysctls on the host's network"
