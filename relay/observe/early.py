"""What was seen of connections that nobody watches yet: they wait to be accepted, and are asked for when they are."""

from __future__ import annotations

import time
from collections import OrderedDict

_MAX_KEPT = 1024
_LIFE_S = 1.0  # what is older belongs to a connection that is gone, and its port may be used again


class EarlyOffences(OrderedDict[bytes, tuple[float, int]]):
    """The last TOS byte of each such connection that differed from its SYN's, and when it came; the latest ones last.

    The key is that of `Ends`.
    """

    def note(self, key: bytes, tos: int) -> None:
        """A segment with this byte has come."""
        self[key] = (time.monotonic(), tos)
        self.move_to_end(key)
        if len(self) > _MAX_KEPT:
            self.popitem(last=False)

    def claim(self, key: bytes) -> int | None:
        """The byte for the connection that is watched from now on, if one has come just before."""
        at_s, tos = self.pop(key, (0.0, 0))
        return tos if at_s and time.monotonic() - at_s <= _LIFE_S else None
