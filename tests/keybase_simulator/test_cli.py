"""Process conventions: exit codes, stderr, flags, root, dialling (§0, §4)."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from integration.keybase_simulator.paths import KEYBASE

from .support import Simulator


def test_section_0_root_is_refused_without_leave_but_the_version_still_answers(
    keybase: Simulator,
) -> None:
    refused = keybase.alice.run("whoami", KEYBASE_ALLOW_ROOT="")
    version = keybase.alice.run("--version", KEYBASE_ALLOW_ROOT="")

    if os.getuid() == 0:
        text = "Oops, you are trying to run as an admin user (Uid: 0). This isn't supported."
        assert (refused.code, refused.out, text in refused.err) == (2, "", True)
    assert (version.code, version.out) == (0, "keybase version 6.3.0\n")


@pytest.mark.parametrize("value", ["0", "n", "no", "N"])
def test_section_0_a_false_leave_is_none(keybase: Simulator, value: str) -> None:
    expected = 2 if os.getuid() == 0 else 0

    assert keybase.alice.run("whoami", KEYBASE_ALLOW_ROOT=value).code == expected


def test_section_0_a_terminal_sees_another_form_of_an_error_than_a_pipe(keybase: Simulator) -> None:
    ours, theirs = pty.openpty()
    env = keybase.alice.env | {"KEYBASE_SOCKET_FILE": "/nonexistent"}
    subprocess.run([KEYBASE, "whoami"], env=env, stderr=theirs, check=False, timeout=10)
    os.close(theirs)
    seen = os.read(ours, 4096).decode()
    os.close(ours)

    assert "▶ ERROR dial unix /nonexistent: connect: no such file or directory" in seen
    assert "[ERRO" not in seen


def test_section_0_a_missing_service_is_a_dial_error(tmp_path: Path, keybase: Simulator) -> None:
    done = keybase.alice.run("--home", str(tmp_path), "whoami", KEYBASE_SOCKET_FILE="")

    expected = (
        f"dial unix {tmp_path}/.config/keybase/keybased.sock: connect: no such file or directory"
    )
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(f"{expected}\n")


def test_section_0_a_dead_socket_is_refused(own: Simulator) -> None:
    own.admin.stop_service("alice/laptop", kill=True)

    done = own.alice.run("whoami")

    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("connect: connection refused\n")


def test_section_0_bad_arguments_are_found_before_the_service_is_missed(keybase: Simulator) -> None:
    done = keybase.alice.run("chat", "api", "-m", "{}", "-i", "x", KEYBASE_SOCKET_FILE="/none")

    assert done.code == 2
    assert done.err == "Error parsing command line arguments: specify -m or -i, but not both\n\n"


@pytest.mark.parametrize(
    "before",
    [
        ["--no-auto-fork"],
        ["-F"],
        ["-no-auto-fork", "--debug"],
        ["--home", "/tmp", "-F"],
        ["--home=/tmp"],
    ],
)
def test_section_0_global_flags_stand_before_the_command(
    keybase: Simulator, before: list[str]
) -> None:
    assert keybase.alice.run(*before, "whoami").out == "alice\n"


def test_section_0_an_unknown_command_prints_usage_on_stdout(keybase: Simulator) -> None:
    done = keybase.alice.run("dance")

    assert (done.code, done.out[:5]) == (2, "NAME:")
    assert done.err.startswith("Error parsing command line arguments: ")


def test_section_0_stderr_carries_the_services_log_and_stdout_does_not(own: Simulator) -> None:
    own.admin.order("noise", "Upgrade recommended to client version 6.4.0 or above")

    done = own.alice.run("whoami")

    assert done.out == "alice\n"
    assert "Upgrade recommended" in done.err
    assert own.alice.run("ctl", "wait").err == ""


def test_section_4_whoami_names_the_user_and_the_device(keybase: Simulator) -> None:
    plain, shown = keybase.phone.run("whoami"), keybase.phone.run("whoami", "-json")

    who = json.loads(shown.out)
    assert (plain.code, plain.out, shown.code) == (0, "alice\n", 0)
    assert list(who) == [
        "configured", "registered", "loggedIn", "sessionIsValid", "user", "deviceName",
    ]  # fmt: skip
    assert (who["loggedIn"], who["deviceName"]) == (True, "phone")
    assert who["user"]["username"] == "alice"
    assert len(who["user"]["uid"]) == 32
    assert shown.out.startswith('{\n    "configured": true')


def test_section_4_status_tells_the_device_and_kbfs(keybase: Simulator) -> None:
    status = json.loads(keybase.alice.run("status", "--json").out)

    assert (status["Username"], status["LoggedIn"]) == ("alice", True)
    assert (status["Device"]["name"], status["Device"]["type"]) == ("laptop", "desktop")
    assert len(status["Device"]["deviceID"]) == 32
    assert (status["Service"]["Running"], status["Service"]["Pid"]) == (True, "")
    assert status["KBFS"]["Running"] is True
    assert status["Clients"][0]["details"]["argv"] == ["keybase", "status", "--json"]


def test_section_4_status_of_a_logged_out_service_has_no_device(own: Simulator) -> None:
    own.admin.set("alice/laptop", "logged_in", False)
    own.admin.set("alice/laptop", "kbfs_up", False)

    done = own.alice.run("status", "--json")

    status = json.loads(done.out)
    assert done.code == 0
    assert (status["Device"], status["LoggedIn"], status["Username"]) == (None, False, "")
    assert (status["KBFS"]["Running"], status["Service"]["Running"]) == (False, True)
    assert (status["ConfiguredAccounts"], status["DeviceEKNames"]) == (None, None)
    assert status["UIRouterMapping"] == {}


def test_section_4_a_percent_sign_in_another_clients_arguments_mangles_the_status(
    keybase: Simulator,
) -> None:
    keybase.alice.start("--log-file", "100%d", "chat", "api").ask({"id": 1, "method": "list"})

    shown = keybase.alice.run("status", "--json").out

    assert "100%!d(MISSING)" in shown


def test_section_4_logout_logs_out(own: Simulator) -> None:
    assert own.alice.run("logout", "--force").code == 0

    done = own.alice.run("whoami")

    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("logged out\n")
    assert own.phone.run("whoami").out == "alice\n"


def test_section_4_ctl_wait_tells_which_part_is_missing(own: Simulator) -> None:
    own.admin.set("alice/laptop", "kbfs_up", False)
    own.admin.stop_service("bob/server")

    # What is there answers within this time also on a busy machine.
    without = own.alice.run("ctl", "wait", "--duration", "30s")
    kbfs = own.alice.run("ctl", "wait", "--include-kbfs", "--duration", "2s")
    service = own.bob.run("ctl", "wait", "--duration=100ms")

    assert without.code == 0
    assert kbfs.code == 2
    assert kbfs.err.endswith("kbfs failed to startup: context deadline exceeded\n")
    assert service.code == 2
    assert service.err.endswith("service failed to startup: context deadline exceeded\n")


def test_section_4_ctl_wait_returns_when_the_service_comes(own: Simulator) -> None:
    own.admin.stop_service("alice/laptop")
    waiting = own.alice.start("ctl", "wait")

    own.admin.start_service("alice/laptop")

    assert waiting.end().code == 0


def test_section_9_typing_notifications_can_be_disabled(keybase: Simulator) -> None:
    argv = ("chat", "notification-settings", "-disable-typing=true")

    assert keybase.alice.run(*argv).code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_section_0_a_signal_is_exit_status_3(keybase: Simulator, number: signal.Signals) -> None:
    pipe = keybase.alice.start("chat", "api")
    pipe.ask({"id": 1, "method": "list"})

    pipe.signal(number)

    assert pipe.end().code == 3


def test_section_0_a_service_that_hangs_hangs_its_clients(own: Simulator) -> None:
    own.admin.set("alice/laptop", "stalled", True)
    hanging = own.alice.start("whoami")
    assert hanging.outlives(0.2)

    own.admin.set("alice/laptop", "stalled", False)

    assert hanging.end().out == "alice\n"
