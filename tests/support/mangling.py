"""Messages as they arrive from somebody who makes mistakes, or means harm."""

from __future__ import annotations

import os
from random import Random

MANGLED = 100_000 if os.environ.get("RELAY_SOAK") else 3000
"""How many mangled messages of each kind a test reads."""
_TELLING = (0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF)
"""The bytes at which lengths, counts and kinds change their meaning."""


def mangled(chance: Random, message: bytes) -> bytes:
    """The message with up to four changes: a byte is another, the end is missing, or there is more behind it."""
    data = bytearray(message)
    for _ in range(chance.randrange(1, 5)):
        match chance.randrange(4):
            case 0 if data:
                data[chance.randrange(len(data))] = chance.choice(_TELLING)
            case 1 if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
            case 2:
                del data[chance.randrange(len(data) + 1) :]
            case _:
                data += chance.randbytes(chance.randrange(1, 20))
    return bytes(data)
