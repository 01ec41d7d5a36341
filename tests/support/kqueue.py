"""kqueue's interface for a host that has none: what `select` would offer, made of epolls.

It knows what the relay asks for: filters for reading and writing, added with EV_CLEAR, deleted, and waited for. As with
the real one each filter is an event of its own, a closed descriptor's filters go by themselves, and its own descriptor
becomes readable when there is an event. How the BSDs' kernels differ in the finer points it cannot show.
"""

from __future__ import annotations

from collections.abc import Sequence
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll
from typing import NamedTuple

KQ_FILTER_READ, KQ_FILTER_WRITE = -1, -2
KQ_EV_ADD, KQ_EV_DELETE, KQ_EV_CLEAR, KQ_EV_EOF = 0x1, 0x2, 0x20, 0x8000


class kevent(NamedTuple):  # noqa: N801 - its name in `select`
    """A change to make, or an event."""

    ident: int
    filter: int = KQ_FILTER_READ
    flags: int = KQ_EV_ADD


class kqueue:  # noqa: N801 - its name in `select`
    """An epoll for each filter, and one that watches the two."""

    def __init__(self) -> None:
        self._by_filter = {KQ_FILTER_READ: epoll(), KQ_FILTER_WRITE: epoll()}
        self._outer = epoll()
        for inner in self._by_filter.values():
            self._outer.register(inner, EPOLLIN)

    def fileno(self) -> int:
        return self._outer.fileno()

    def close(self) -> None:
        for each in (self._outer, *self._by_filter.values()):
            each.close()

    def control(self, changes: Sequence[kevent] | None, max_events: int, timeout: float | None = None) -> list[kevent]:
        for change in changes or ():
            self._make(change)
        events: list[kevent] = []
        if max_events and self._outer.poll(timeout, 2):
            for filter_, inner in self._by_filter.items():
                if len(events) < max_events:
                    for descriptor, mask in inner.poll(0, max_events - len(events)):
                        ended = mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)
                        events.append(kevent(descriptor, filter_, KQ_EV_EOF if ended else 0))
        return events

    def _make(self, change: kevent) -> None:
        inner = self._by_filter[change.filter]
        if change.flags & KQ_EV_DELETE:
            inner.unregister(change.ident)
            return
        if not change.flags & KQ_EV_CLEAR:
            raise NotImplementedError("a filter without EV_CLEAR")
        wanted = EPOLLIN | EPOLLRDHUP if change.filter == KQ_FILTER_READ else EPOLLOUT
        try:
            inner.register(change.ident, wanted | EPOLLET)
        except FileExistsError:
            inner.modify(change.ident, wanted | EPOLLET)


NAMES: dict[str, object] = {
    name: value for name, value in globals().items() if name.startswith("KQ_") or name in ("kevent", "kqueue")
}
"""What `select` has more of where there is kqueue."""
