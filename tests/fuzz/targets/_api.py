"""What a target is, and how the same bytes are cut in several ways.

A target is a function of bytes that raises when the code under it breaks a promise; bytes that are refused as they
should be are as good as any. It returns what came of them, in a few words: that names an input worth keeping.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Check: TypeAlias = Callable[[bytes], str]

_BYTEWISE = 600  # beyond, some hundred cuts say as much, and do not take quadratic time


@dataclass(frozen=True)
class Target:
    """One thing to fuzz."""

    name: str
    check: Check
    tokens: tuple[bytes, ...]
    """Words of its language, for generators that cannot guess them."""


TARGETS: dict[str, Target] = {}


def target(*tokens: bytes) -> Callable[[Check], Check]:
    """Make a function `fuzz_<name>` the target `<name>`."""

    def register(check: Check) -> Check:
        name = check.__name__.removeprefix("fuzz_").replace("_", "-")
        TARGETS[name] = Target(name, check, tokens)
        return check

    return register


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """The same bytes whole, one at a time, and cut at random; the same cuts each time."""
    yield [data]
    step = 1 if len(data) <= _BYTEWISE else len(data) // 200
    yield [data[at : at + step] for at in range(0, len(data), step)]
    chance = random.Random(zlib.crc32(data))  # noqa: S311 - meant to be repeatable
    for count in (1, 3, 9):
        at = sorted(chance.randrange(len(data) + 1) for _ in range(count))
        yield [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]
