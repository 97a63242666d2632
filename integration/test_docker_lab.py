"""The Docker lab itself: what it says where it cannot run, and what it leaves behind."""

import subprocess

import pytest

from .conftest import Labs
from .errors import LabError
from .labs import docker
from .waiting import wait_for

pytestmark = pytest.mark.executors("docker")


def test_without_an_engine_that_may_be_started_it_fails_and_says_why() -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    environment = ["env", "DOCKER_HOST=unix:///run/nobody-listens-here.sock"]

    result = subprocess.run(
        [*nobody, *environment, "bash", str(docker.SCRIPT), "engine"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "no Docker engine answers, and only root can start one" in result.stderr
    assert "nobody-listens-here" in result.stderr


def test_a_lab_ends_with_everything_that_it_made(labs: Labs) -> None:
    lab = labs.up("nat.yaml", services=["router"])
    assert lab.exec("router", ["hostname"]).stdout
    assert lab.name in docker.names()
    with pytest.raises(LabError, match="does not run"):
        lab.exec("inside-1", ["true"])

    lab.down()

    label = f"--filter=label={docker.PROJECT_LABEL}={docker.PREFIX}{lab.name}"
    for listing in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
        assert docker.docker([*listing, "--quiet", label]) == ""
    lab.down()


def test_a_cable_that_is_pulled_shows_as_no_carrier(labs: Labs) -> None:
    lab = labs.up("nat.yaml", services=["router", "inside-1"])
    ping = ["ping", "-c1", "-W2", "192.168.1.1"]
    lab.exec("inside-1", ping)

    lab.set_link("inside-1", "lan", up=False)
    assert "NO-CARRIER" in lab.exec("inside-1", ["ip", "link", "show", "eth0"]).stdout

    lab.set_link("inside-1", "lan", up=True)
    lab.wait_for(lambda: lab.exec("inside-1", ping, timeout=5), 10, "the router answers again")


def test_the_command_of_the_readme_shows_a_mesh() -> None:
    """Whose programs find their Keybase also from without, as a person calls them."""
    project = f"{docker.PREFIX}readme"
    alice = f"{project}-alice-1"
    file = ["--file", str(docker.REPOSITORY / "compose" / "team.yaml")]
    try:
        docker.compose(project, [*file, "up", "--detach", "--no-build"])
        wait_for(
            lambda: _kbwg(alice, "status").count("connected") == 3,
            90,
            "alice is connected to the three others",
        )
        assert "there is no peers.json" in _kbwg(alice, "peers", "list")
    finally:
        docker.destroy("readme")


def _kbwg(container: str, *words: str) -> str:
    argv = ["docker", "exec", container, "kbwg", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
