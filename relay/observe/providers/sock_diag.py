"""Provider `sock-diag`: ask the kernel for the TOS byte that is set on the peer's own socket.

What it does not see: which segments carried the byte. A change is noticed when the driver asks, before it reads and
after it writes; bytes that were sent just before the change may be taken for bytes after it, and a byte that is set and
set back between two questions goes unseen. Nor does it see a peer on another host, or behind another namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import ClassVar

from relay.abilities import Ability, Want
from relay.observe._api import Failure, Fidelity, Offer, Provider, Target, Watch
from relay.observe.kernel.ends import ends_of
from relay.observe.kernel.host import Host
from relay.observe.kernel.sock_diag import SockDiag, request
from relay.observe.self_test import tos_self_test


class SockDiagWatch(Watch):
    """Asks for the TOS byte set on one peer's socket. Withholds nothing: that is up to who asks."""

    __slots__ = ("_diag", "_question", "_told")

    asks = True

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


class SockDiagProvider(Provider):
    """TOS changes of peers on this host, by question.

    Raises:
        Unsupported: this host has no NETLINK_SOCK_DIAG.
    """

    name: ClassVar[str] = "sock-diag"
    purpose: ClassVar[str] = "TOS bytes of apps on this host, by netlink, like ss; Linux, no privilege"
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {
            Want(Ability.TOS): Offer(
                Fidelity.APPROXIMATE,
                "asked around reads and writes: bytes sent just before a change may be withheld with it, and only "
                "processes on this host are seen",
            )
        }
    )
    requirement: ClassVar[str] = "run it in the network namespace of the app"

    @classmethod
    @cache
    def self_test(cls) -> Failure | None:
        return tos_self_test(cls, withholds=False)

    def __init__(self, host: Host) -> None:
        self._diag = SockDiag()

    def attach(self, target: Target) -> SockDiagWatch | None:
        syn_tos, ends = target.syn_tos, ends_of(target.sock)
        if syn_tos is None or ends is None or not ends.is_ipv4:
            return None
        question = request(ends.peer, ends.local)
        try:
            return SockDiagWatch(self._diag, question, syn_tos) if self._diag.ask(question) else None
        except OSError:
            return None

    def close(self) -> None:
        self._diag.close()
