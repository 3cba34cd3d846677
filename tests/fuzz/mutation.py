"""Records that are a little or very wrong, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

# what breaks readers of text and of binary alike
TOKENS: Final = (
    b"",
    b"\0",
    b"\xff",
    b"\x80" * 9,
    b"\n",
    b'"',
    b"\\",
    b"{",
    b"[" * 50,
    b"}",
    b",",
    b"=",
    b":",
    b";",
    b" ",
    b"null",
    b"NaN",
    b"Infinity",
    b"-1",
    b"1e999",
    b"1e-999",
    b"9" * 400,
    b"18446744073709551616",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xff\xff\xff\xff\x0f",
)
_CHANGES: Final = (1, 1, 1, 2, 4)  # of a record; with many hardly one is left right
Mutate = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def mutated(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A record of the corpus with a few changes; it is never empty."""
    value = rng.choice(corpus)
    for _ in range(rng.choice(_CHANGES)):
        value = rng.choice(_MUTATIONS)(rng, value, corpus)
    return value or b"\n"


def _flip(rng: random.Random, value: bytes, corpus: Sequence[bytes]) -> bytes:
    if not value:
        return value
    changed = bytearray(value)
    changed[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _put(rng: random.Random, value: bytes, corpus: Sequence[bytes]) -> bytes:
    changed = bytearray(value)
    start = rng.randint(0, len(value))
    end = start + rng.choice((0, 1, 2, 8))
    changed[start:end] = rng.choice(TOKENS)
    return bytes(changed)


def _cut(rng: random.Random, value: bytes, corpus: Sequence[bytes]) -> bytes:
    return value[: rng.randint(0, len(value))]


def _drop(rng: random.Random, value: bytes, corpus: Sequence[bytes]) -> bytes:
    start = rng.randint(0, len(value))
    return value[:start] + value[start + rng.randint(1, 16) :]


def _repeat(rng: random.Random, value: bytes, corpus: Sequence[bytes]) -> bytes:
    start = rng.randint(0, len(value))
    part = value[start : start + rng.randint(1, 64)]
    return value[:start] + part * rng.randint(2, 8) + value[start:]


def _splice(rng: random.Random, value: bytes, corpus: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    return value[: rng.randint(0, len(value))] + other[rng.randint(0, len(other)) :]


def _noise(rng: random.Random, value: bytes, corpus: Sequence[bytes]) -> bytes:
    start = rng.randint(0, len(value))
    return value[:start] + rng.randbytes(rng.randint(1, 32)) + value[start:]


_MUTATIONS: Final[Sequence[Mutate]] = (
    _flip,
    _flip,
    _put,
    _put,
    _cut,
    _drop,
    _repeat,
    _splice,
    _noise,
)
