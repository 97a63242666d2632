"""`keybase chat api-listen`: a banner on stderr, then one JSON object a line, without replay."""

import json
import sys
from typing import Any

from .cli import CommandError, ServiceClient, UsageError, flags


def run(service: ServiceClient, argv: list[str]) -> None:
    """Show messages until the service goes away, which is an error."""
    valued = {"filter-channel": "one", "filter-channels": "many"}
    plain = {
        "local": "local",
        "hide-exploding": "hide",
        "convs": "convs",
        "dev": "dev",
        "wallet": "wallet",
    }
    options, words = flags(argv, valued, plain)
    if words:
        raise UsageError("api-listen takes no arguments")
    channels = _channels(options)
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
        hide_exploding="hide" in options,
    )
    shown = {True: "true", False: "false"}
    _tell(
        "Listening for chat notifications. Config: "
        f"{{showLocal:{shown['local' in options]} showNewConvs:{shown['convs' in options]} "
        f"hideExploding:{shown['hide' in options]}}}, "
        f"subscribeDevChannels: {shown['dev' in options]}"
    )
    for line in service.stream():
        event = json.loads(line)["event"]
        sys.stdout.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stdout.flush()
    raise CommandError("connection to service lost: error during ping: EOF")


def _channels(options: dict[str, str]) -> list[dict[str, Any]]:
    from .gojson import GoJSONError, folded, loads

    try:
        if "one" in options:
            return [folded(loads(options["one"]))]
        if "many" in options:
            return [folded(channel) for channel in loads(options["many"])]
    except GoJSONError as error:
        raise UsageError(str(error)) from None
    return []


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
