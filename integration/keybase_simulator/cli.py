"""The `keybase` command line: global flags, commands, exit codes.

Standard library only, and as little of it as possible: it is started often.
"""

import os
import signal
import sys
from typing import NoReturn

from .rpc import CommandError, Runnable, ServiceClient, UsageError
from .terminal import USAGE, complain, flag_in_environment, parse_flags, write_line

VERSION = "6.3.0"
EXIT_ERROR = 2
EXIT_INTERRUPTED = 3

_GLOBAL_VALUED = {
    name: name
    for name in (
        "home", "socket-file", "pid-file", "config-file", "log-file", "log-prefix", "run-mode",
        "server", "mountdir", "proxy", "timers",
    )
}  # fmt: skip
_GLOBAL_PLAIN = {
    name: name
    for name in (
        "no-auto-fork", "F", "auto-fork", "debug", "d", "no-debug", "standalone", "version", "v",
        "use-default-log-file", "enable-bot-lite-mode", "local-rpc-debug-unsafe",
    )
}  # fmt: skip


def main(argv: list[str]) -> NoReturn:
    """Run one command; exits with the real client's codes (§0)."""
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGINT, _interrupted)
    try:
        code = _run(argv)
    except BrokenPipeError:
        code = EXIT_ERROR
    sys.stderr.flush()
    # Nothing of ours is left to clean up, and taking the interpreter down costs milliseconds.
    os._exit(code)


def _interrupted(*_: object) -> None:
    os._exit(EXIT_INTERRUPTED)


def _run(argv: list[str]) -> int:
    if argv in (["--version"], ["-version"], ["-v"], ["--v"]):
        write_line(f"keybase version {VERSION}")
        return 0
    if os.getuid() == 0 and not flag_in_environment("KEYBASE_ALLOW_ROOT"):
        complain("Oops, you are trying to run as an admin user (Uid: 0). This isn't supported.")
        return EXIT_ERROR
    try:
        options, words = parse_flags(argv, _GLOBAL_VALUED, _GLOBAL_PLAIN)
        runnable = _parse(words)
    except UsageError as error:
        sys.stdout.write(USAGE)
        sys.stdout.flush()
        sys.stderr.write(f"Error parsing command line arguments: {error}\n\n")
        return EXIT_ERROR
    try:
        if words[:1] == ["service"]:
            from . import running

            running.run_service(words[1:], socket_path(options), options.get("home"))
            return 0
        service = ServiceClient(socket_path(options))
        if _forwards_log(words):
            # Every such command dials at once, to show the service's log on its stderr.
            for line in service.call("hello", argv=["keybase", *argv])["log"]:
                complain(line, "INFO")
        runnable(service)
    except CommandError as error:
        sys.stdout.flush()
        complain(str(error))
        return EXIT_ERROR
    sys.stdout.flush()
    return 0


def socket_path(options: dict[str, str]) -> str:
    """Return the service's socket by the real client's rules (§7.3)."""
    if "socket-file" in options:
        return options["socket-file"]
    if os.environ.get("KEYBASE_SOCKET_FILE"):
        return os.environ["KEYBASE_SOCKET_FILE"]
    mode = options.get("run-mode") or os.environ.get("KEYBASE_RUN_MODE") or "prod"
    name = "keybase" if mode == "prod" else f"keybase.{mode}"
    home = options.get("home")
    if home is None and os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(os.environ["XDG_RUNTIME_DIR"], name, "keybased.sock")
    return os.path.join(home or os.environ.get("HOME", "/"), ".config", name, "keybased.sock")


def _forwards_log(words: list[str]) -> bool:
    return words[:2] not in (["chat", "api-listen"], ["ctl", "wait"]) and words[:1] != ["version"]


def _parse(words: list[str]) -> Runnable:
    """Return the command; modules are loaded only when they are needed."""
    match words:
        case ["whoami", *rest]:
            from . import identity

            return identity.parse_whoami(rest)
        case ["status", *rest]:
            from . import identity

            return identity.parse_status(rest)
        case ["logout", *rest]:
            from . import identity

            return identity.parse_logout(rest)
        case ["login", *rest]:
            from . import running

            return running.parse_login(rest)
        case ["oneshot", *rest]:
            from . import running

            return running.parse_oneshot(rest)
        case ["ctl", "stop", *rest]:
            from . import running

            return running.parse_ctl_stop(rest)
        case ["service", *_]:
            return lambda _: None  # `_run` becomes it
        case ["ctl", "wait", *rest]:
            from . import identity

            return identity.parse_ctl_wait(rest)
        case ["chat", "notification-settings", *rest]:
            from . import identity

            return identity.parse_notification_settings(rest)
        case ["chat", "api", *rest]:
            from . import api, options

            return api.parse(rest, options.CHAT)
        case ["team", "api", *rest]:
            from . import api, options

            return api.parse(rest, options.TEAM)
        case ["chat", "api-listen", *rest]:
            from . import listen

            return listen.parse(rest)
        case ["fs", ("read" | "write" | "stat" | "ls") as verb, *rest]:
            from . import files

            return files.parse(verb, rest)
        case ["version", *rest]:
            parse_flags(rest, {}, {"S": "S"})
            return lambda _: write_line(VERSION)
        case _:
            raise UsageError(f"Command not found: {' '.join(words[:2])}")
