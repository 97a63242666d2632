"""`whoami`, `status`, `logout`, `ctl wait` and `chat notification-settings` (§4)."""

import json
import os
import sys
import time
from typing import Any

from .rpc import CommandError, Runnable, ServiceClient, UsageError
from .terminal import go_printf, parse_duration, parse_flags, write_line

MAX_WAIT_SECONDS = 60.0
"""The longest `ctl wait` that the real CLI accepts."""

_VERSION = "6.3.0-20240117"


def parse_whoami(argv: list[str]) -> Runnable:
    """Local only: the best health probe, and it names the device."""
    options, words = parse_flags(argv, {}, {"json": "json", "j": "json"})
    if words:
        raise UsageError("Invalid arguments")

    def run(service: ServiceClient) -> None:
        who = service.call("identity")
        inside = who["logged_in"]
        if "json" not in options:
            if not inside:
                raise CommandError("logged out")
            write_line(who["username"])
            return
        shown: dict[str, Any] = {
            "configured": True,
            "registered": inside,
            "loggedIn": inside,
            "sessionIsValid": inside,
        }
        if inside:
            shown["user"] = {"uid": who["uid"], "username": who["username"]}
        shown["deviceName"] = who["device"] if inside else ""
        _print_as_format(shown)

    return run


def parse_status(argv: list[str]) -> Runnable:
    """Everything the service knows of itself; exit 0 even when logged out."""
    options, _ = parse_flags(argv, {}, {"json": "json", "j": "json"})

    def run(service: ServiceClient) -> None:
        who = service.call("identity", network=True)
        if "json" in options:
            _print_as_format(_status(who))
            return
        write_line(f"Username:      {who['username'] if who['logged_in'] else ''}")
        write_line(f"Logged in:     {'yes' if who['logged_in'] else 'no'}")

    return run


def parse_logout(argv: list[str]) -> Runnable:
    """Harmless when logged out."""
    parse_flags(argv, {}, {"force": "force", "f": "force"})
    return lambda service: service.call("logout")


def parse_notification_settings(argv: list[str]) -> Runnable:
    """Of its many flags the one that bots set."""
    valued = {"disable-typing": "disable-typing"}
    # The flag is a boolean: its value, if any, stands after the equals sign.
    parse_flags(argv, {}, valued | {"enable-typing": "enable-typing"})
    return lambda service: service.call("notification-settings")


def parse_ctl_wait(argv: list[str]) -> Runnable:
    """Wait for the service, and for KBFS if asked to; never starts anything."""
    valued = {"duration": "duration", "d": "duration"}
    options, _ = parse_flags(argv, valued, {"include-kbfs": "kbfs"})
    try:
        patience = min(parse_duration(options.get("duration", "10s")), MAX_WAIT_SECONDS)
    except ValueError as error:
        raise UsageError(str(error)) from None

    def run(service: ServiceClient) -> None:
        deadline = time.monotonic() + patience
        while True:
            missing = "service"
            try:
                who = ServiceClient(service.path).call("identity")
                missing = "kbfs"
                if "kbfs" not in options or who["kbfs"]:
                    return
            except CommandError:
                pass
            if time.monotonic() >= deadline:
                raise CommandError(f"{missing} failed to startup: context deadline exceeded")
            time.sleep(0.05)

    return run


def _status(who: dict[str, Any]) -> dict[str, Any]:
    inside = who["logged_in"]
    username = who["username"] if inside else ""
    device = {
        "type": who["type"],
        "name": who["device"],
        "deviceID": who["device_id"],
        "deviceNumberOfType": 1,
        "cTime": who["ctime_ms"],
        "mTime": who["ctime_ms"],
        "lastUsedTime": who["ctime_ms"],
        "encryptKey": who["device_id"],
        "verifyKey": who["device_id"],
        "status": 1,
    }
    account = {"username": username, "fullname": "", "hasStoredSecret": True, "isCurrent": True}
    logs = os.path.dirname(who["log"])
    return {
        "Username": username,
        "UserID": who["uid"] if inside else "",
        "Device": device if inside else None,
        "LoggedIn": inside,
        "PassphraseStreamCached": False,
        "TsecCached": False,
        "DeviceSigKeyCached": inside,
        "DeviceEncKeyCached": inside,
        "PaperSigKeyCached": False,
        "PaperEncKeyCached": False,
        "StoredSecret": inside,
        "SecretPromptSkip": False,
        "SessionIsValid": inside,
        "ConfigPath": "",
        "Client": {"Version": _VERSION},
        "Service": {
            "Version": _VERSION, "Running": True, "Pid": "", "Log": who["log"],
            "EKLog": f"{logs}/keybase.ek.log", "PerfLog": f"{logs}/keybase.perf.log",
        },
        "KBFS": {
            "Version": _VERSION if who["kbfs"] else "", "InstalledVersion": "",
            "Running": who["kbfs"], "Pid": "", "Log": f"{logs}/keybase.kbfs.log",
            "PerfLog": f"{logs}/keybase.kbfs.perf.log", "Mount": "",
        },
        "Desktop": {"Version": "", "Running": False, "Log": f"{logs}/Keybase.app.log"},
        "Updater": {"Log": f"{logs}/keybase.updater.log"},
        "Start": {"Log": f"{logs}/keybase.start.log"},
        "Git": {"Log": f"{logs}/keybase.git.log", "PerfLog": f"{logs}/keybase.git.perf.log"},
        "DefaultUsername": username,
        "ProvisionedUsernames": [username] if inside else None,
        "ConfiguredAccounts": [account] if inside else None,
        "Clients": [_client(number, argv) for number, argv in enumerate(who["clients"])],
        "PlatformInfo": {"os": "linux", "osVersion": "", "arch": "amd64", "goVersion": "go1.21.0"},
        "OSVersion": "",
        "DeviceEKNames": None,
        "LocalDbStats": [],
        "LocalChatDbStats": [],
        "CacheDirSizeInfo": [],
        "UIRouterMapping": {},
    }  # fmt: skip


def _client(number: int, argv: list[str]) -> dict[str, Any]:
    details = {
        "pid": os.getpid(),
        "clientType": 1,
        "argv": argv,
        "desc": "",
        "version": _VERSION,
    }
    return {"details": details, "connectionID": number + 1, "notificationChannels": {}}


def _print_as_format(shown: dict[str, Any]) -> None:
    # The real CLI hands the JSON to printf as the format string itself.
    text = json.dumps(shown, indent=4, ensure_ascii=False)
    sys.stdout.buffer.write(go_printf(text + "\n").encode(errors="replace"))
    sys.stdout.buffer.flush()
