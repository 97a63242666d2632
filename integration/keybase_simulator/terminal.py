"""What every command prints with and parses by: stderr's two forms, Go's printf, flags."""

import os
import re
import sys
import time
from collections.abc import Collection, Mapping

from .rpc import UsageError

USAGE = (
    "NAME:\n   keybase - Keybase command line client.\n\nUSAGE:\n   keybase COMMAND [arguments]\n"
)

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


def complain(text: str, level: str = "ERROR") -> None:
    """Print as the client logs: coloured to a terminal, a log line to a pipe or file (§0)."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\x1b[31m▶ {level} {text}\x1b[0m\n")
    else:
        now = time.time_ns()
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
        line = (
            f"{moment}.{now // 1000 % 10**6:06d}Z ▶ [{level[:4]} keybase main.go:86] 001 {text}\n"
        )
        sys.stderr.write(line)
    sys.stderr.flush()


def write_line(text: str) -> None:
    """Write a line to stdout, raw: the real CLI escapes nothing on its way into a pipe."""
    sys.stdout.buffer.write(text.encode(errors="replace") + b"\n")
    sys.stdout.buffer.flush()


def go_printf(text: str) -> str:
    """Return what Go prints for `text` as a format string without arguments (§4)."""

    def mangle(match: re.Match[str]) -> str:
        verb = match.group(1)
        if verb == "%":
            return "%"
        return f"%!{verb}(MISSING)" if verb else "%!(NOVERB)"

    return re.sub(r"%[-+# 0]*[0-9]*(?:\.[0-9]*)?([^0-9]|$)", mangle, text, flags=re.DOTALL)


def flag_in_environment(name: str) -> bool:
    """Return a boolean variable as Keybase reads it: anything but 0 and n… is true."""
    value = os.environ.get(name, "").lower()
    return bool(value) and value != "0" and not value.startswith("n")


def parse_flags(
    argv: list[str], valued: Mapping[str, str], plain: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Parse the flags before the first argument; one dash or two are the same.

    Flags with a value are in `valued`, those without in `plain`, each with the name under which
    it is returned.
    """
    found: dict[str, str] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        if name in valued:
            if not equals:
                if not rest:
                    raise UsageError(f"flag needs an argument: -{name}")
                value = rest.pop(0)
            found[valued[name]] = value
        elif name in plain:
            # Go reads -flag=false as the flag's absence.
            if value.lower() not in ("0", "f", "false"):
                found[plain[name]] = value or "true"
        else:
            raise UsageError(f"flag provided but not defined: -{name}")
    return found, rest


def go_bools(names: Mapping[str, bool]) -> str:
    """Return a Go struct of booleans as `%+v` prints it."""
    return "{" + " ".join(f"{name}:{str(on).lower()}" for name, on in names.items()) + "}"


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration.

    Raises:
        ValueError: with Go's words.
    """
    sign, body = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if body == "0":
        return 0.0
    parts = _DURATION_PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        missing = re.fullmatch(r"[0-9]*\.?[0-9]+", body)
        what = "missing unit in" if missing else "invalid"
        raise ValueError(f'time: {what} duration "{text}"')
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Return a duration as Go prints it: 1s, 1m30s, 168h0m0s."""
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 else ""
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return f"{sign}{nanoseconds / size:.15g}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes_left = divmod(minutes, 60)
    text = f"{rest / 1e9:.15g}s"
    if minutes:
        text = f"{minutes_left}m{text}"
    return sign + (f"{hours}h{text}" if hours else text)


def require_arguments(words: Collection[str], count: int, text: str) -> None:
    """Refuse any other number of arguments with `text`."""
    if len(words) != count:
        raise UsageError(text)
