"""Provider `ebpf`: the kernel drops every segment whose TOS byte differs, and reports it at once.

It withholds what `socket_filter.py` withholds; the relay learns of it in a better way. The program itself puts the
socket's cookie and the byte into a ring, so nothing else need be looked at, for any peer, any number of flows, any TOS
byte of their SYNs, and any rewriting of their addresses by a firewall. An idle flow costs nothing. There is one program
for each precedence (or whatever `mask` covers) that a SYN can have, loaded once.

What comes before a connection is accepted and attached to is seen by its listener's program. It runs for the SYN and
for the ACK that completes the handshake on the listener, and from then on, inherited, on the connection:

    SYN       remember its TOS byte and sequence number, under the addresses and ports
    others    tell, with the addresses, the ports and the SYN's sequence number, and let pass, what differs from it

The sequence number tells a connection from the next one between the same ends, which the client may open as soon as it
has reset this one. So the first segment may be in the stream already when its TOS byte is reported: right after
`attach`. The first segments of a connection that we dialled pass unseen; there a peer on this host is asked
(`sock_diag.py`), and a remote one that sets its byte and sets it back before we attach goes unseen.

Measured, Linux 6.18, side by side: `attach` takes 3.5 us where `socket_filter.py` takes 18; from sending the segment on
loopback to `on_tos` it is 14 us, there 10.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import ClassVar

from relay.abilities import Ability, Want
from relay.errors import Unsupported
from relay.observe._api import WITHHELD, Failure, Fidelity, Offer, Provider, Target, Watch, Watcher
from relay.observe.kernel import ebpf
from relay.observe.kernel.early import EarlyOffences
from relay.observe.kernel.ends import ends_of
from relay.observe.kernel.host import Host, Timer
from relay.observe.kernel.privileges import Capability
from relay.observe.kernel.ring import Ring
from relay.observe.kernel.sock_diag import PeerLookup
from relay.observe.kernel.tos_programs import (
    ENDS_BYTES,
    NO_KEY,
    SYN_BYTES,
    key_of_syn,
    listening_program,
    read_report,
    withholding_program,
)
from relay.observe.self_test import tos_self_test

_MAX_SYNS = 16_384  # remembered from the SYN until the connection is accepted; a queue of ours has 1,024 at most


class EbpfWatch(Watch):
    """One socket with its program."""

    __slots__ = ("_bits", "_provider", "_sock", "_soon", "_syn_tos", "_told", "_watcher", "cookie")

    def __init__(
        self,
        provider: EbpfProvider,
        sock: socket.socket,
        cookie: bytes,
        syn_tos: int,
        bits: int,
        watcher: Watcher,
    ) -> None:
        self.cookie = cookie
        self._provider: EbpfProvider | None = provider
        self._sock = sock
        self._syn_tos = syn_tos
        self._bits = bits
        self._watcher = watcher
        self._told = syn_tos
        self._soon: Timer | None = None

    def release(self) -> None:
        self._bits = 0  # from now on no byte differs
        if self._provider is not None and self._sock.fileno() >= 0:
            ebpf.detach(self._sock)

    def close(self) -> None:
        if self._provider is not None:
            self._provider.forget(self)
            self._provider = None
            if self._soon is not None:
                self._soon.cancel()

    def saw(self, tos: int) -> None:
        """A segment with this byte has come."""
        if self._provider is not None and (tos ^ self._syn_tos) & self._bits and tos != self._told:
            self._told = tos
            self._watcher.on_tos(tos)

    def saw_soon(self, host: Host, tos: int) -> None:
        """`saw`, but not before `attach` has returned."""
        self._soon = host.call_later(0, lambda: self.saw(tos))


class EbpfProvider(Provider):
    """TOS changes, reported by programs in the kernel.

    Raises:
        Unsupported: this host has no such programs, or CAP_BPF is missing.
    """

    name: ClassVar[str] = "ebpf"
    purpose: ClassVar[str] = "TOS bytes of any peer, by a BPF program in the kernel; Linux, CAP_BPF"
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType({Want(Ability.TOS): Offer(Fidelity.EXACT, WITHHELD)})
    capabilities: ClassVar[tuple[Capability, ...]] = (Capability.BPF,)

    @classmethod
    @cache
    def self_test(cls) -> Failure | None:
        return tos_self_test(cls, withholds=True)

    def __init__(self, host: Host) -> None:
        ebpf.demand_bpf()
        self._host = host
        self._watches: dict[bytes, EbpfWatch] = {}
        self._early = EarlyOffences()
        self._programs: dict[tuple[int, int], int] = {}
        self._listening: dict[int, int] = {}
        self._syns = -1
        try:
            self._ring = Ring()
        except OSError as fault:
            raise Unsupported(str(fault.strerror), hint=self.remedy(Failure.of(fault))) from fault
        self._peers = PeerLookup()
        try:
            self._unwatch = host.watch_readable(self._ring, self._read)
        except BaseException:
            self._release_all()
            raise

    def cover(self, listener: socket.socket, mask: int) -> None:
        if not mask:
            ebpf.detach(listener)
            return
        with contextlib.suppress(OSError):  # no descriptors left: what comes early goes unseen
            if mask not in self._listening:
                self._load(mask)
            ebpf.attach(listener, self._listening[mask])

    def attach(self, target: Target) -> EbpfWatch | None:
        sock, syn_tos = target.sock, target.syn_tos
        if syn_tos is None or not _is_ipv4(target):
            return None
        program = self._program(syn_tos & target.mask, target.mask)
        try:
            cookie = ebpf.cookie_of(sock)
            ebpf.attach(sock, program)
        except OSError:
            return None
        watch = self._watches[cookie] = EbpfWatch(self, sock, cookie, syn_tos, target.mask, target.watcher)
        self._collect()
        early = self._early_offence(sock, target.isn) if target.accepted else self._byte_in_force(sock)
        if early is not None:
            watch.saw_soon(self._host, early)
        return watch

    def forget(self, watch: EbpfWatch) -> None:
        if self._watches.get(watch.cookie) is watch:
            del self._watches[watch.cookie]

    def close(self) -> None:
        for watch in list(self._watches.values()):
            watch.close()
        self._unwatch()
        self._release_all()

    def _load(self, mask: int) -> None:
        """Load what its listeners need, which have one mask at a time, and most of their connections."""
        self._forget_programs()
        if self._syns < 0:
            self._syns = ebpf.create_map(ebpf.LRU_HASH, ENDS_BYTES, SYN_BYTES, _MAX_SYNS)
        self._listening[mask] = ebpf.load_filter(listening_program(mask, self._ring.fileno(), self._syns))
        self._program(0, mask)

    def _release_all(self) -> None:
        self._forget_programs()
        self._ring.close()
        if self._syns >= 0:
            os.close(self._syns)
            self._syns = -1
        self._peers.close()

    def _forget_programs(self) -> None:
        """Sockets that have one keep it."""
        for descriptor in (*self._programs.values(), *self._listening.values()):
            os.close(descriptor)
        self._programs.clear()
        self._listening.clear()

    def _program(self, wanted: int, bits: int) -> int:
        """Load it, unless that was done.

        Raises:
            OSError: the kernel refused. A flow that went on unwatched would be worse than one that ends with a fault.
        """
        descriptor = self._programs.get((wanted, bits))
        if descriptor is None:
            descriptor = ebpf.load_filter(withholding_program(wanted, bits, self._ring.fileno()))
            self._programs[wanted, bits] = descriptor
        return descriptor

    def _byte_in_force(self, sock: socket.socket) -> int | None:
        """The byte that a peer on this host has set; None of others, and where its end is over."""
        found = self._peers.find(ends_of(sock))
        return found.tos if found is not None else None

    def _early_offence(self, sock: socket.socket, isn: int | None) -> int | None:
        """The byte of a segment that came before its connection was attached to."""
        if not self._early or isn is None or (ends := ends_of(sock)) is None:
            return None
        claimed = self._early.claim(key_of_syn(ends.key, isn))
        return claimed[0] if claimed is not None else None

    def _read(self) -> None:
        for record in self._ring.take():
            watch, tos = self._sort(record)
            if watch is not None:
                watch.saw(tos)

    def _collect(self) -> None:
        """`_read` for `attach`, which must not call back from inside itself."""
        for record in self._ring.take():
            watch, tos = self._sort(record)
            if watch is not None:
                watch.saw_soon(self._host, tos)

    def _sort(self, record: bytes) -> tuple[EbpfWatch | None, int]:
        """The watch that a record is for; a record for a connection to come is kept."""
        key, cookie, tos = read_report(record)
        watch = self._watches.get(cookie)
        if watch is None and key != NO_KEY:
            self._early.note(key, tos, 0)
        return watch, tos


def _is_ipv4(target: Target) -> bool:
    # Only a SYN over IPv4 tells its number, and asking a socket for its family is slow.
    if target.isn is not None or target.sock.family == socket.AF_INET:
        return True
    ends = ends_of(target.sock)
    return ends is not None and ends.is_ipv4
