"""Provider `sock-diag`: ask the kernel for the TOS byte that is set on the peer's own socket.

What it does not see: which segments carried the byte. A change is noticed when the driver asks, before it reads and
after it writes; bytes that were sent just before the change may be taken for bytes after it, and a byte that is set and
set back between two questions goes unseen. Nor does it see a peer on another host, or behind another namespace.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import ClassVar

from relay.observe._api import Host
from relay.observe.kernel.ends import ends_of
from relay.observe.kernel.sock_diag import SockDiag, request


class SockDiagWatch:
    """Asks for the TOS byte set on one peer's socket. Withholds nothing: that is up to who asks."""

    asks: ClassVar[bool] = True

    def __init__(self, diag: SockDiag, question: bytes, syn_tos: int) -> None:
        self._diag = diag
        self._question = question
        self._told = syn_tos

    def ask(self) -> int | None:
        try:
            tos = self._diag.ask_tos(self._question)
        except OSError:
            return None
        if tos is None or tos == self._told:
            return None
        self._told = tos
        return tos

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


class SockDiagProvider:
    """TOS changes of peers on this host, by question.

    Raises:
        Unsupported: this host has no NETLINK_SOCK_DIAG.
    """

    name: ClassVar[str] = "sock-diag"

    def __init__(self, host: Host) -> None:
        self._diag = SockDiag()

    def cover(self, listener: socket.socket, mask: int) -> None:
        pass  # asking tells the byte in force, whenever it was set

    def attach(
        self,
        sock: socket.socket,
        *,
        syn_tos: int,
        mask: int,
        changed: Callable[[int | None], None],
        accepted: bool = True,
        isn: int | None = None,
    ) -> SockDiagWatch | None:
        ends = ends_of(sock)
        if ends is None or not ends.is_ipv4:
            return None
        question = request(ends.peer, ends.local)
        try:
            return SockDiagWatch(self._diag, question, syn_tos) if self._diag.ask(question) else None
        except OSError:
            return None

    def close(self) -> None:
        self._diag.close()
