"""Input that is nearly right: what passes the first checks finds what is behind them."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

INTERESTING: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**64, 10**400, -(10**400), 0.5, 1e308,
    float("inf"), float("nan"), "", "\x00", "\ud800", "é" * 300, "%s%n", "9" * 50, "a" * 5000,
    [], {}, [[]], [None], {"": None}, "bob", "ANNOUNCE 1.2.3.4:5 ",
)  # fmt: skip
"""Values that code is prone to stumble over."""

NUMBERS: Final = (0, 1, 0x7F, 0x80, 0xFF)


def mutated(rng: Random, corpus: Sequence[bytes]) -> bytes:
    """Return an input made from examples: as bytes, or as JSON where it is that."""
    example = rng.choice(corpus)
    if example[:1] in (b"{", b"[") and rng.random() < 0.7:
        return _json(rng, example)
    for _ in range(rng.choice((1, 1, 2, 5))):
        example = rng.choice(_STEPS)(rng, example, corpus)
    return example


def random_bytes(rng: Random) -> bytes:
    """Return anything."""
    return rng.randbytes(rng.choice((0, 1, 4, 19, 20, 24, 60, 200, 1500)))


def _json(rng: Random, example: bytes) -> bytes:
    document = json.loads(example)
    for _ in range(rng.choice((1, 1, 2, 4))):
        document = _changed(rng, document)
    text = json.dumps(document)
    if rng.random() < 0.1:
        text = text.replace('"', rng.choice(("%", '\\"', '"')), rng.randrange(4))
    return text.encode("utf-8", "surrogatepass")


def _changed(rng: Random, value: Any) -> Any:
    """Change one place of a document: deeper down more often than at the top."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.05:
            return {(k.upper() if k == key else k): v for k, v in value.items()}
        return {k: _changed(rng, v) if k == key else v for k, v in value.items()}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        if rng.random() < 0.1:
            return value * 2
        return [_changed(rng, v) if n == place else v for n, v in enumerate(value)]
    if isinstance(value, str) and value and rng.random() < 0.7:
        raw = value.encode("utf-8", "surrogatepass")
        return rng.choice(_STEPS)(rng, raw, [raw]).decode("utf-8", "replace")
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 1000, -1000, 2**40))
    return rng.choice(INTERESTING)


def _flip(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    if not data:
        return b"\x00"
    place = rng.randrange(len(data))
    byte = rng.choice((data[place] ^ (1 << rng.randrange(8)), rng.randrange(256), *NUMBERS))
    return data[:place] + bytes([byte]) + data[place + 1 :]


def _cut(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _insert(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 4, 16))) + data[place:]


def _remove(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[place + rng.choice((1, 2, 4, 16)) :]


def _repeat(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((4, 20, 100))]
    return data[:start] + piece * rng.choice((2, 5, 40)) + data[start:]


def _splice(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _number(rng: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    if len(data) < 4:
        return data + b"\xff\xff"
    place, size = rng.randrange(len(data) - 3), rng.choice((2, 4))
    number = rng.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), len(data)))
    return data[:place] + number.to_bytes(size, "big") + data[place + size :]


_STEPS: Final[tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...]] = (
    _flip, _cut, _insert, _remove, _repeat, _splice, _number,
)  # fmt: skip
