"""The `keybase` command line: processes, exit codes, stderr and the calls of its service.

Standard library only, and as little of it as possible: it is started often.
"""

import base64
import json
import os
import signal
import socket
import sys
import time
from typing import Any, NoReturn

VERSION = "6.3.0"
EXIT_ERROR = 2
EXIT_INTERRUPTED = 3

GLOBAL_WITH_VALUE = {"home", "socket-file", "pid-file", "config-file", "log-file", "run-mode"}
GLOBAL_FLAGS = {"no-auto-fork", "F", "debug", "d", "no-debug", "standalone", "use-default-log-file"}


class CommandError(Exception):
    """A command fails with this text."""


class UsageError(Exception):
    """The arguments make no sense."""


class RateLimitedError(CommandError):
    """The service refuses: too many calls."""

    def __init__(self, reset: int, capacity: int) -> None:
        super().__init__("You are being rate limited")
        self.data = {
            "name": "chat",
            "callsRemaining": 0,
            "windowReset": reset,
            "maxCalls": capacity,
        }


class ServiceClient:
    """A connection to the local service, dialled when it is needed.

    A failed dial is remembered for the life of the process, as in the real client: such a pipe
    is poisoned. A connection that broke while nobody used it is dialled again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stream: Any = None
        self._dial_error: str | None = None

    def call(self, rpc: str, **args: Any) -> Any:
        """Ask the service."""
        for attempt in (1, 2):
            stream = self.stream()
            try:
                stream.write(json.dumps({"rpc": rpc, "args": args}).encode() + b"\n")
                stream.flush()
                line = stream.readline()
            except OSError:
                line = b""
            if line:
                break
            self._stream = None
            if attempt == 2:
                raise CommandError("EOF")
        answer = json.loads(line)
        if "rate_limit" in answer:
            raise RateLimitedError(**answer["rate_limit"])
        if "error" in answer:
            raise CommandError(answer["error"])
        return answer.get("result")

    def stream(self) -> Any:
        """Return the connection, dialled if need be."""
        if self._dial_error is not None:
            raise CommandError(self._dial_error)
        if self._stream is None:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._path)
            except OSError as error:
                reason = {2: "no such file or directory", 111: "connection refused"}.get(
                    error.errno or 0, error.strerror or "error"
                )
                self._dial_error = f"dial unix {self._path}: connect: {reason}"
                raise CommandError(self._dial_error) from None
            self._stream = connection.makefile("rwb")
        return self._stream


def complain(text: str) -> None:
    """Print an error as the client does: coloured to a terminal, a log line otherwise."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\x1b[31m▶ ERROR {text}\x1b[0m\n")
    else:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        sys.stderr.write(f"{moment}.{time.time_ns() // 1000 % 10**6:06d}Z ")
        sys.stderr.write(f"▶ [ERRO keybase main.go:86] 001 {text}\n")
    sys.stderr.flush()


def go_printf(text: str) -> str:
    """Mangle as a format string without arguments: a literal % comes out wrong."""
    if "%" not in text:
        return text
    out, position = "", 0
    while position < len(text):
        if text[position] != "%":
            out += text[position]
            position += 1
            continue
        following = text[position + 1 : position + 2]
        if following == "%":
            out += "%"
        elif not following:
            out += "%!(NOVERB)"
        else:
            out += f"%!{following}(MISSING)"
        position += 2
    return out


def socket_path(home: str | None, options: dict[str, str]) -> str:
    """Return the service's socket by the real client's rules."""
    if "socket-file" in options:
        return options["socket-file"]
    if os.environ.get("KEYBASE_SOCKET_FILE"):
        return os.environ["KEYBASE_SOCKET_FILE"]
    if home is None and os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(os.environ["XDG_RUNTIME_DIR"], "keybase", "keybased.sock")
    base = home or os.environ.get("HOME", "/")
    return os.path.join(base, ".config", "keybase", "keybased.sock")


def split_globals(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split the global flags from the subcommand and its arguments."""
    options: dict[str, str] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).lstrip("-").partition("=")
        if name in GLOBAL_WITH_VALUE:
            if not equals:
                if not rest:
                    raise UsageError(f"flag needs an argument: -{name}")
                value = rest.pop(0)
            options[name] = value
        elif name in GLOBAL_FLAGS or name == "version":
            options[name] = ""
        else:
            raise UsageError(f"flag provided but not defined: -{name}")
    return options, rest


def flags(
    argv: list[str], valued: dict[str, str], plain: dict[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Parse the flags of a subcommand; one or two dashes are the same."""
    found: dict[str, str] = {}
    words: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in valued:
            if not equals:
                if not rest:
                    raise UsageError(f"flag needs an argument: -{name}")
                value = rest.pop(0)
            found[valued[name]] = value
        elif name in plain:
            found[plain[name]] = ""
        else:
            raise UsageError(f"flag provided but not defined: -{name}")
    return found, words


def whoami(service: ServiceClient, argv: list[str]) -> None:
    """`keybase whoami [--json]`: local only, the best health probe."""
    options, _ = flags(argv, {}, {"json": "json", "j": "json"})
    who = service.call("identity")
    if "json" not in options:
        if not who["logged_in"]:
            raise CommandError("logged out")
        print(who["username"])
        return
    shown: dict[str, Any] = {
        "configured": True,
        "registered": who["logged_in"],
        "loggedIn": who["logged_in"],
        "sessionIsValid": who["logged_in"],
    }
    if who["logged_in"]:
        shown["user"] = {"uid": who["uid"], "username": who["username"]}
    shown["deviceName"] = who["device"] if who["logged_in"] else ""
    print(go_printf(json.dumps(shown, indent=4)))


def status(service: ServiceClient, argv: list[str]) -> None:
    """`keybase status --json`."""
    flags(argv, {}, {"json": "json", "j": "json"})
    who = service.call("identity")
    device = None
    if who["logged_in"]:
        device = {
            "type": who["type"],
            "name": who["device"],
            "deviceID": who["device_id"],
            "deviceNumberOfType": 1,
            "cTime": 1_560_000_000_000,
            "mTime": 1_560_000_000_000,
            "lastUsedTime": 0,
            "encryptKey": "",
            "verifyKey": "",
            "status": 1,
        }
    shown = {
        "Username": who["username"] if who["logged_in"] else "",
        "UserID": who["uid"] if who["logged_in"] else "",
        "Device": device,
        "LoggedIn": who["logged_in"],
        "SessionIsValid": who["logged_in"],
        "ConfigPath": "",
        "Client": {"Version": VERSION},
        "Service": {"Version": VERSION, "Running": True, "Pid": "", "Log": ""},
        "KBFS": {"Version": "", "InstalledVersion": "", "Running": who["kbfs"], "Mount": ""},
        "DefaultUsername": who["username"] if who["logged_in"] else "",
        "ProvisionedUsernames": None,
        "ConfiguredAccounts": None,
        "Clients": [{"details": {"pid": os.getpid(), "argv": sys.argv, "version": VERSION}}],
        "DeviceEKNames": None,
        "UIRouterMapping": {},
    }
    print(go_printf(json.dumps(shown, indent=4)))


def ctl(service: ServiceClient, argv: list[str]) -> None:
    """`keybase ctl wait [--duration D] [--include-kbfs]`; never starts anything."""
    if argv[:1] != ["wait"]:
        raise UsageError(f"unknown command: ctl {' '.join(argv)}")
    options, _ = flags(argv[1:], {"duration": "duration"}, {"include-kbfs": "kbfs"})
    text = options.get("duration", "10s")
    deadline = time.monotonic() + float(text.rstrip("s"))
    path = service._path
    what = "service"
    while time.monotonic() < deadline:
        try:
            who = ServiceClient(path).call("identity")
        except CommandError:
            time.sleep(0.1)
            continue
        what = "kbfs"
        if "kbfs" not in options or who["kbfs"]:
            return
        time.sleep(0.1)
    raise CommandError(f"{what} failed to startup: context deadline exceeded")


def fs(service: ServiceClient, argv: list[str]) -> None:
    """`keybase fs read|write|stat|ls PATH`."""
    verb = argv[0] if argv else ""
    valued = {"b": "b", "buffersize": "b", "rev": "rev", "time": "time", "reltime": "reltime"}
    plain = {"a": "a", "append": "a", "1": "1", "nocolor": "n", "l": "l", "show-archived": "s"}
    options, words = flags(argv[1:], valued, plain)
    if verb not in ("read", "write", "stat", "ls") or len(words) != 1:
        raise UsageError(f"fs {verb} requires one PATH argument")
    path = words[0].replace("keybase://", "/keybase/")
    if verb == "read":
        sys.stdout.buffer.write(base64.b64decode(service.call("fs-read", path=path)))
    elif verb == "write":
        content = sys.stdin.buffer.read()
        if "a" in options:
            content = base64.b64decode(service.call("fs-read", path=path)) + content
        service.call("fs-write", path=path, content=base64.b64encode(content).decode())
    elif verb == "ls":
        print("\n".join(service.call("fs-ls", path=path)))
    else:
        print(path.removeprefix("/keybase"), flush=True)
        try:
            stat = service.call("fs-stat", path=path)
        except CommandError as error:
            if str(error) == "file does not exist":
                raise CommandError("file or folder does not exist (code 5103)") from None
            raise
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(stat["written_at"]))
        name = path.rpartition("/")[2]
        print(f"{when}\tFILE\t{stat['size']}\t{name}\t{stat['writer']}\tNOT_STARTED")


def chat(service: ServiceClient, argv: list[str]) -> None:
    """`keybase chat api|api-listen|notification-settings`."""
    verb = argv[0] if argv else ""
    if verb == "api":
        from . import api

        options, words = api_flags(argv[1:])
        if words:
            raise UsageError("api takes no arguments")
        api.run(service, options, api.CHAT)
    elif verb == "api-listen":
        from . import listen

        listen.run(service, argv[1:])
    elif verb == "notification-settings":
        service.call("identity")
    else:
        raise UsageError(f"unknown command: chat {verb}")


def team(service: ServiceClient, argv: list[str]) -> None:
    """`keybase team api`."""
    if argv[:1] != ["api"]:
        raise UsageError(f"unknown command: team {' '.join(argv[:1])}")
    from . import api

    options, words = api_flags(argv[1:])
    if words:
        raise UsageError("api takes no arguments")
    api.run(service, options, api.TEAM)


def api_flags(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """Parse the flags that every JSON API has."""
    valued = {"m": "m", "message": "m", "i": "i", "infile": "i", "o": "o", "outfile": "o"}
    options, words = flags(argv, valued, {"p": "p", "pretty": "p"})
    if "m" in options and "i" in options:
        raise UsageError("specify -m or -i, but not both")
    return options, words


def logout(service: ServiceClient, argv: list[str]) -> None:
    """`keybase logout --force`: harmless when logged out."""
    flags(argv, {}, {"force": "f", "f": "f"})
    service.call("identity")


COMMANDS = {
    "whoami": whoami,
    "status": status,
    "ctl": ctl,
    "fs": fs,
    "chat": chat,
    "team": team,
    "logout": logout,
}


def main(argv: list[str]) -> NoReturn:
    """Run one command; exits with the real client's codes."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_INTERRUPTED))
    signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    sys.exit(_run(argv))


def _run(argv: list[str]) -> int:
    if argv in (["--version"], ["-version"], ["-v"]):
        print(f"keybase version {VERSION}")
        return 0
    if os.getuid() == 0 and os.environ.get("KEYBASE_ALLOW_ROOT") != "1":
        sys.stderr.write(
            "Oops, you are trying to run as an admin user (Uid: 0). This isn't supported.\n"
        )
        return EXIT_ERROR
    try:
        options, rest = split_globals(argv)
        service = ServiceClient(socket_path(options.get("home"), options))
        _command(service, rest)
        sys.stdout.flush()
    except UsageError as error:
        print("NAME:\n   keybase - Keybase command line client.\n\nUSAGE:\n   keybase COMMAND")
        sys.stderr.write(f"Error parsing command line arguments: {error}\n\n")
        return EXIT_ERROR
    except CommandError as error:
        sys.stdout.flush()
        complain(str(error))
        return EXIT_ERROR
    except BrokenPipeError:
        return EXIT_ERROR
    return 0


def _command(service: ServiceClient, words: list[str]) -> None:
    if not words or words[0] not in COMMANDS:
        raise UsageError(f"unknown command: {' '.join(words[:1])}")
    if words[0] != "ctl":
        service.stream()  # every command dials at once, to forward the service's log
    COMMANDS[words[0]](service, words[1:])
