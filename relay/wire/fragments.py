"""IPv4 fragments (RFC 791 section 3.2, RFC 815): put together what the guest sends, cut what is too long for it.

A datagram is whole once its last fragment is there and no gap is before it. It is dropped if two of its fragments
overlap, which no sender does (RFC 5722), if it is not whole after `TIMEOUT_S`, or if there are too many others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relay.wire.packet import IPV4_HEADER_BYTES, Buffer, Ipv4

TIMEOUT_S = 30.0  # as Linux has it; RFC 1122 section 3.3.2 wants 60 to 120 s
MAX_DATAGRAMS = 64  # in parts at the same time: 4 MB at the most
_MAX_BYTES = 0xFFFF - IPV4_HEADER_BYTES
_MAX_FRAGMENTS = 128  # of one datagram: the longest one, over links of 576 bytes


class Fragments:
    """What has come of datagrams that are not whole yet. Times are in seconds."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int, int, int], _Parts] = {}  # the oldest first

    def __len__(self) -> int:
        """How many datagrams are not whole yet."""
        return len(self._parts)

    def take(self, ip: Ipv4, now_s: float) -> Ipv4 | None:
        """Take in a fragment; returns the datagram if it is whole now."""
        for key, old in list(self._parts.items()):
            if now_s - old.began_s < TIMEOUT_S:
                break
            del self._parts[key]
        key = (ip.source, ip.destination, ip.protocol, ip.ident)
        if key not in self._parts and len(self._parts) == MAX_DATAGRAMS:
            del self._parts[next(iter(self._parts))]
        parts = self._parts.setdefault(key, _Parts(now_s))
        if not parts.add(ip):
            del self._parts[key]
            return None
        payload = parts.whole()
        if payload is None:
            return None
        del self._parts[key]
        return ip._replace(more_fragments=False, fragment_offset=0, payload=memoryview(payload))


class _Parts:
    """One datagram's fragments."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self._by_offset: dict[int, bytes] = {}
        self._end = 0  # of what has come
        self._size: int | None = None  # known once the last fragment is there

    def add(self, ip: Ipv4) -> bool:
        """Take in a fragment; False if it makes no sense with the others."""
        start, end = ip.fragment_offset, ip.fragment_offset + len(ip.payload)
        if ip.more_fragments and (not ip.payload or len(ip.payload) % 8):
            return False
        if not ip.more_fragments:
            if self._size not in {None, end} or self._end > end:
                return False
            self._size = end
        if end > _MAX_BYTES or (self._size is not None and end > self._size):
            return False
        if len(self._by_offset) == _MAX_FRAGMENTS:
            return False
        self._end = max(self._end, end)
        if self._by_offset.get(start) == bytes(ip.payload):
            return True  # the same once more
        if any(start < other + len(data) and other < end for other, data in self._by_offset.items()):
            return False
        self._by_offset[start] = bytes(ip.payload)
        return True

    def whole(self) -> bytes | None:
        if self._size is None or sum(map(len, self._by_offset.values())) < self._size:
            return None
        return b"".join(data for _, data in sorted(self._by_offset.items()))


def cut(parts: Sequence[Buffer], mtu: int) -> Iterator[tuple[int, bool, bytes]]:
    """The fragments of a payload: each one's offset in bytes, whether more follow, and its own payload.

    One fragment, if an MTU of so many bytes has room for it.
    """
    data = b"".join(parts)
    most_bytes = mtu - IPV4_HEADER_BYTES
    if len(data) > most_bytes:
        most_bytes = most_bytes // 8 * 8
    for offset in range(0, len(data) or 1, most_bytes):
        yield offset, offset + most_bytes < len(data), data[offset : offset + most_bytes]
