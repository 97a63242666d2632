"""Commands that start, log in and end the service: `service`, `login`, `oneshot`, `ctl stop`."""

import asyncio
import os
import sys
from pathlib import Path

from .rpc import CommandError, Runnable, ServiceClient, UsageError
from .seed import DEFAULT_ROOT
from .terminal import parse_flags


def run_service(argv: list[str], socket: str, home: str | None) -> None:
    """Become the service (§7.3): of `--home`, else of HOME and the XDG variables."""
    from .service_process import KeybaseService

    parse_flags(argv, {}, {})
    here = Path(home or os.environ.get("HOME", "/"))
    xdg = {} if home else os.environ
    service = KeybaseService(
        socket=Path(socket),
        config=Path(xdg.get("XDG_CONFIG_HOME", here / ".config")) / "keybase",
        data=Path(xdg.get("XDG_DATA_HOME", here / ".local" / "share")) / "keybase",
        cloud=Path(os.environ.get("SIMULATOR_ROOT", DEFAULT_ROOT)) / "cloud.sock",
    )
    asyncio.run(service.run())


def parse_login(argv: list[str]) -> Runnable:
    """Make a named device by a paper key; harmless when it is there already (§7.2)."""
    valued = {"paperkey": "paperkey", "devicename": "devicename"}
    options, words = parse_flags(argv, valued, {})
    if len(words) != 1:
        raise UsageError("login takes one username here")
    name = options.get("devicename") or os.environ.get("KEYBASE_DEVICENAME")
    if not name:
        raise UsageError("without a device name the real client asks a terminal for one")
    phrase = _paper_key(options)
    username = words[0]
    return lambda service: _call(service, "login", username=username, phrase=phrase, name=name)


def parse_oneshot(argv: list[str]) -> Runnable:
    """Log in as the paper key's own device, until the service ends (§7.1)."""
    valued = {"username": "username", "u": "username", "paperkey": "paperkey"}
    options, words = parse_flags(argv, valued, {})
    username = options.get("username") or os.environ.get("KEYBASE_USERNAME")
    if words or not username:
        raise UsageError("oneshot needs a username and nothing else")
    phrase = _paper_key(options)
    return lambda service: _call(service, "oneshot", username=username, phrase=phrase)


def parse_ctl_stop(argv: list[str]) -> Runnable:
    """End the service, which exits with 0."""
    parse_flags(argv, {}, {})
    return lambda service: _call(service, "stop")


def _call(service: ServiceClient, rpc: str, **args: str) -> None:
    service.call(rpc, **args)


def _paper_key(options: dict[str, str]) -> str:
    phrase = options.get("paperkey") or os.environ.get("KEYBASE_PAPERKEY")
    if not phrase and not sys.stdin.isatty():
        phrase = sys.stdin.readline().strip()
    if not phrase:
        raise CommandError("No paper keys available")
    return phrase
