"""What whoever waits for a guest gets to see."""

import sys


def say(text: str) -> None:
    """Tell why it takes long, or what went wrong."""
    print(f"guest: {text}", file=sys.stderr, flush=True)


def show(data: bytes) -> None:
    """Pass on what a guest's command prints."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
