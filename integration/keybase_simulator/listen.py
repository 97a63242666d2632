"""`keybase chat api-listen`: a banner on stderr, then one JSON object a line, without replay (§3)."""

import json
import sys
import time
from typing import Any

from . import gojson, gostruct
from .options import CHANNEL, channel_is_valid
from .rpc import CommandError, Runnable, ServiceClient, UsageError
from .terminal import go_bools, parse_flags, write_line

PING_SECONDS = 1.0
"""Seconds between pings of the service, and for which an answer is awaited."""

_PLAIN = {name: name for name in ("local", "hide-exploding", "convs", "dev", "wallet")}


def parse(argv: list[str]) -> Runnable:
    """Parse the flags; filters that are no JSON are bad arguments."""
    valued = {"filter-channel": "one", "filter-channels": "many"}
    options, _ = parse_flags(argv, valued, _PLAIN)
    channels = _filters(options)

    def run(service: ServiceClient) -> None:
        filters: list[str] = service.call("filters", channels=channels) if channels else []
        if filters:
            _tell(f"Message filtering is active with {len(filters)} filters")
            for number, conversation in enumerate(filters):
                _tell(f"filter {number}: {conversation}")
        service.call(
            "listen",
            filters=filters,
            local="local" in options,
            dev="dev" in options,
            convs="convs" in options,
            hide_exploding="hide-exploding" in options,
        )
        config = {
            "showLocal": "local" in options,
            "showNewConvs": "convs" in options,
            "hideExploding": "hide-exploding" in options,
        }
        dev = str("dev" in options).lower()
        _tell(
            f"Listening for chat notifications. Config: {go_bools(config)}, "
            f"subscribeDevChannels: {dev}"
        )
        if "wallet" in options:
            _tell("Listening for wallet notifications")
        _show(service)

    return run


def _show(service: ServiceClient) -> None:
    """Print events and ping, until the service does not answer; it never reconnects."""
    try:
        while True:
            service.send("ping", {})
            pinged = time.monotonic()
            if not _show_until(service, pinged + PING_SECONDS, stop_at_pong=True):
                lost = "context deadline exceeded"
                break
            _show_until(service, time.monotonic() + PING_SECONDS, stop_at_pong=False)
    except CommandError as error:
        lost = str(error)
    raise CommandError(f"connection to service lost: error during ping: {lost}")


def _show_until(service: ServiceClient, deadline: float, *, stop_at_pong: bool) -> bool:
    """Print events until a time or a ping's answer; returns whether that came."""
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = service.next_line(left)
        except TimeoutError:
            break
        except CommandError:
            # The loss shows with the next ping, not before.
            time.sleep(0 if stop_at_pong else max(0.0, deadline - time.monotonic()))
            raise
        answer = json.loads(line)
        if "event" in answer:
            write_line(gojson.dumps(answer["event"]))
        elif stop_at_pong:
            return True
    return False


def _filters(options: dict[str, str]) -> list[dict[str, Any]]:
    try:
        found = _decoded(options.get("many") or "[]")
        if options.get("one"):
            found += [gostruct.decode(CHANNEL, gojson.loads(options["one"]))]
    except gojson.GoJSONError as error:
        raise UsageError(str(error)) from None
    for channel in found:
        if not channel_is_valid(channel):
            shown = {name: value for name, value in channel.items() if value or name == "name"}
            raise UsageError(f"Channel filter not valid: {gojson.dumps(shown)}")
    return found


def _decoded(text: str) -> list[dict[str, Any]]:
    channels = gojson.loads(text)
    if channels is None:
        return []
    if not isinstance(channels, list):
        what = gostruct.kind_of(channels)
        kind = "[]client.ChatChannel"
        raise gojson.GoJSONError(f"json: cannot unmarshal {what} into Go value of type {kind}")
    return [gostruct.decode(CHANNEL, channel) for channel in channels]


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
