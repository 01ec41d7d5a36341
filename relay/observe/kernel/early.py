"""What was seen of connections that are not watched yet: they wait to be accepted, and are asked for when they are."""

from __future__ import annotations

from collections import OrderedDict

from relay.clock import real_s

_MAX_KEPT = 1024
_LIFE_S = 1.0  # a connection that is accepted later than that is judged by what comes next


class EarlyOffences(OrderedDict[bytes, tuple[float, int, int]]):
    """The last segment of each such connection that differed from its SYN: when it came, TOS byte, sequence number.

    The latest ones last. The key begins with that of `Ends`, which the next connection between the same ends shares:
    the caller has to tell the two apart, by the rest of the key or by the sequence number.
    """

    def note(self, key: bytes, tos: int, seq: int) -> None:
        """A segment with this byte has come."""
        self[key] = (real_s(), tos, seq)
        self.move_to_end(key)
        if len(self) > _MAX_KEPT:
            self.popitem(last=False)

    def claim(self, key: bytes) -> tuple[int, int] | None:
        """TOS byte and sequence number for the connection that is watched from now on, if one has come just before."""
        at_s, tos, seq = self.pop(key, (0.0, 0, 0))
        return (tos, seq) if at_s and real_s() - at_s <= _LIFE_S else None
