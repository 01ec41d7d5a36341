"""Provider `socket-filter`: the kernel drops every segment whose TOS byte differs, before TCP sees it.

A classic BPF program on the connected socket compares (tos ^ syn) & mask. A segment that differs is gone: its data is
never readable, its ACK is not taken, pure ACKs and FINs included; the peer's TCP retransmits. RST passes, as RFC 793
looks at it before precedence. Exact, for peers anywhere. Attached to connected sockets, not to the listener: there it
would judge SYNs.

How we learn of a drop, best first:

    wake        an AF_PACKET socket gets the same segment (`wake.py`), and with it the byte
    drops       the socket's drop counter, polled (`drops.py`), where CAP_NET_RAW is missing or there are too many flows
                whose SYN was marked; the byte is then asked for (`sock_diag.py`), or not known
    guard       the same counter, every two seconds, behind `wake`: a packet whose addresses a firewall rule rewrites
                before TCP sees it is not found by the addresses it came with

A segment that comes between the handshake and `attach` is in the stream already. It is reported all the same: the
AF_PACKET socket has seen it, unless the flow was the first on its port; then, and without AF_PACKET, a peer on this
host is asked. Either way the report comes right after `attach`.

The packets are distinguished by addresses and ports, which a client may use again as soon as it has reset a connection.
Therefore `attach` first takes in what has come: that is for the connections before. Of what came before `attach` this
connection's own are those whose sequence numbers lie between its SYN's and what its socket has received by now.

Needs CAP_NET_ADMIN on current kernels: without it TCP sockets answer EPERM (Linux 6.18). Measured there, on a busy
machine of two cores: `attach` takes 35 to 45 us, 18 of them in the one system call that attaches; from the segment's
arrival to `on_tos` it is 30 to 60 us with 100 flows open, and 4.9 ms by polling.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import ClassVar

from relay.abilities import Ability, Want
from relay.errors import Unsupported
from relay.observe._api import WITHHELD, Failure, Fidelity, Offer, Provider, Target, Watch, Watcher
from relay.observe.kernel.bpf import (
    NET_HEADER,
    Program,
    accept,
    attach,
    drop,
    if_any,
    if_equal,
    load_byte,
    mask,
    program,
)
from relay.observe.kernel.drops import Counted, DropPoller
from relay.observe.kernel.ebpf import detach
from relay.observe.kernel.ends import Ends, ends_of
from relay.observe.kernel.host import Host, Timer
from relay.observe.kernel.privileges import Capability
from relay.observe.kernel.sock_diag import PeerLookup, SocketInfo
from relay.observe.kernel.tcp_info import received_bytes
from relay.observe.kernel.wake import Wake
from relay.observe.self_test import tos_self_test

_TCP_FLAGS_AT = 13
_TCP_FLAG_RST = 0x04
_TOS_AT = 1
_NONE_HERE = "no socket filters on this system"


@cache
def withholding_program(syn_tos: int, bits: int) -> Program:
    """Assemble the program that drops what differs from `syn_tos` in any of `bits`."""
    return program(
        load_byte(_TCP_FLAGS_AT),
        if_any(_TCP_FLAG_RST, then=3),
        load_byte(NET_HEADER + _TOS_AT),
        mask(bits),
        if_equal(syn_tos & bits, otherwise=1),
        accept(),
        drop(),
    )


class SocketFilterWatch(Counted, Watch):
    """One socket with its filter."""

    __slots__ = (
        "_is_local",
        "_open",
        "_provider",
        "_released",
        "_soon",
        "_told",
        "_watcher",
        "asks",
        "bits",
        "key",
        "syn_tos",
    )

    def __init__(
        self,
        provider: SocketFilterProvider,
        sock: socket.socket,
        key: bytes,
        *,
        syn_tos: int,
        bits: int,
        watcher: Watcher,
    ) -> None:
        super().__init__(sock)
        self.asks = False
        self.key = key
        self._provider = provider
        self.syn_tos = syn_tos
        self.bits = bits
        self._watcher = watcher
        self._told: int | None = syn_tos
        self._released = False
        self._is_local = False
        self._open = True
        self._soon: Timer | None = None

    def ask(self) -> int | None:
        if self.poller is not None:
            self.poller.touch(self)  # something is being read or written
        found = self._provider.peers.find(ends_of(self.sock)) if self._is_local else None
        if found is None or found.tos == self._told:
            return None
        self._told = found.tos
        return found.tos

    def release(self) -> None:
        self._released = True
        if self._open and self.sock.fileno() >= 0:
            detach(self.sock)

    def close(self) -> None:
        if self._open:
            self._open = False
            if self._soon is not None:
                self._soon.cancel()
            if self.poller is not None:
                self.poller.discard(self)
            self._provider.forget(self)

    def found(self, peer: SocketInfo | None) -> None:
        """The peer's socket was looked for on this host."""
        self._is_local = peer is not None

    def saw(self, tos: int) -> None:
        """A segment with this byte has come."""
        if self._open and not self._released and self._differs(tos) and tos != self._told:
            self._told = tos
            self._watcher.on_tos(tos)

    def saw_soon(self, host: Host, tos: int | None) -> None:
        if tos is not None and self._differs(tos):
            self._soon = host.call_later(0, lambda: self.saw(tos))

    def rose(self, certain: bool) -> None:
        self._provider.read_packets()
        if not self._open or self._released or self._told is None or self._differs(self._told):
            return
        found = self._provider.peers.find(ends_of(self.sock))
        if found is not None and self._differs(found.tos):
            self.saw(found.tos)
        elif certain:
            self._told = None
            self._watcher.on_tos(None)

    def _differs(self, tos: int) -> bool:
        return bool((tos ^ self.syn_tos) & self.bits)


class SocketFilterProvider(Provider):
    """TOS changes by socket filter, noticed by packets.

    Raises:
        Unsupported: this host has no such filters or no AF_PACKET, or CAP_NET_RAW is missing.
    """

    name: ClassVar[str] = "socket-filter"
    purpose: ClassVar[str] = "TOS bytes of any peer, by packet filters (as tcpdump, pcap); Linux, CAP_NET_ADMIN"
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType({Want(Ability.TOS): Offer(Fidelity.EXACT, WITHHELD)})
    capabilities: ClassVar[tuple[Capability, ...]] = (Capability.NET_ADMIN, Capability.NET_RAW)

    @classmethod
    @cache
    def self_test(cls) -> Failure | None:
        if sys.platform != "linux":
            return Failure(_NONE_HERE)
        try:
            with socket.socket() as sock:
                attach(sock, program(accept()))
        except OSError as refusal:
            return Failure.of(refusal)
        return tos_self_test(cls, withholds=True)

    def __init__(self, host: Host) -> None:
        if sys.platform != "linux":
            raise Unsupported(_NONE_HERE, hint="use relay on Linux")
        self._host = host
        self._flows: dict[bytes, SocketFilterWatch] = {}
        self._wake = self._open_wake()
        self.peers = PeerLookup()
        self._drops = DropPoller(host, tick_s=0.005, slots=20)
        self._guard = DropPoller(host, tick_s=0.1, slots=20, follows_busy=False)

    def attach(self, target: Target) -> SocketFilterWatch | None:
        sock, syn_tos, bits = target.sock, target.syn_tos, target.mask
        ends = ends_of(sock)
        if syn_tos is None or ends is None or not ends.is_ipv4:
            return None
        watch = SocketFilterWatch(self, sock, ends.key, syn_tos=syn_tos, bits=bits, watcher=target.watcher)
        if self._wake is not None:
            self._wake.read(self._offended_before)
        if (before := self._flows.get(watch.key)) is not None:
            self.forget(before)
        self._flows[watch.key] = watch
        seen_before, woken = self._cover(watch, ends, target.accepted)
        try:
            (self._guard if woken else self._drops).add(watch)
        except OSError:
            self.forget(watch)
            return None
        try:
            attach(sock, withholding_program(syn_tos, bits))
        except OSError:
            watch.close()
            return None
        early = self._early_offence(watch, target.isn)
        if early is None and not (seen_before and woken):
            found = self.peers.find(ends)
            watch.found(found)
            early = found.tos if found is not None else None
        watch.asks = not woken
        watch.saw_soon(self._host, early)
        return watch

    def read_packets(self) -> None:
        """Take in what the AF_PACKET socket holds, so that no poll overtakes it."""
        if self._wake is not None:
            self._wake.read()

    def forget(self, watch: SocketFilterWatch) -> None:
        if self._flows.get(watch.key) is watch:
            del self._flows[watch.key]
            if self._wake is not None:
                self._wake.forget(watch.key)

    def close(self) -> None:
        for watch in list(self._flows.values()):
            watch.close()
        self._drops.close()
        self._guard.close()
        if self._wake is not None:
            self._wake.close()
        self.peers.close()

    def _cover(self, watch: SocketFilterWatch, ends: Ends, accepted: bool) -> tuple[bool, bool]:
        """Have packets looked at; return whether they were already, and whether we shall be woken by them."""
        if self._wake is None:
            return False, False
        (_, local_port), (_, peer_port) = ends
        syn_tos, bits = watch.syn_tos, watch.bits
        seen_before = self._wake.cover(local_port if accepted else None, peer_port, bits)
        if not syn_tos & bits:
            return seen_before, True
        return False, self._wake.add_exception(watch.key, syn_tos, bits)

    def _early_offence(self, watch: SocketFilterWatch, isn: int | None) -> int | None:
        """The byte of a segment that came before its connection was attached to."""
        claimed = self._wake.early_offence(watch.key) if self._wake is not None else None
        if claimed is None or isn is None:
            return None
        tos, seq = claimed
        return tos if (seq - isn - 1) & 0xFFFFFFFF <= received_bytes(watch.sock) else None

    def _offended_before(self, key: bytes, tos: int) -> bool:
        """`_offended` for `attach`, which must not call back from inside itself."""
        watch = self._flows.get(key)
        if watch is not None:
            watch.saw_soon(self._host, tos)
        return watch is not None

    def _offended(self, key: bytes, tos: int) -> bool:
        watch = self._flows.get(key)
        if watch is not None:
            watch.saw(tos)
        return watch is not None

    def _open_wake(self) -> Wake | None:
        return Wake(self._host, self._offended)


class PolledSocketFilterProvider(SocketFilterProvider):
    """The same, noticed by the drop counters alone: without CAP_NET_RAW."""

    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {Want(Ability.TOS): Offer(Fidelity.EXACT, WITHHELD + "; noticed by polling, within 5 to 200 ms ({why})")}
    )
    capabilities: ClassVar[tuple[Capability, ...]] = (Capability.NET_ADMIN,)

    def _open_wake(self) -> None:
        return None
