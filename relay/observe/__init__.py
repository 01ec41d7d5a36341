"""What this host can see and do: the providers of abilities, tried and chosen.

    survey(observer)  -->  Survey: for each kind of want a Support (exact, approximate or impossible, how, remedy)
                             | open(host)
                           Observers: the providers, running

The best provider that passes its self-test is chosen for each ability. What none provides is labelled, never pretended.
"""

from __future__ import annotations

import difflib
import errno
import os
import socket
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from relay.abilities import Ability, Want
from relay.errors import ConfigError, Unsupported
from relay.legs import Witness
from relay.observe._api import (
    Fidelity,
    Host,
    KeepaliveProvider,
    Pollable,
    Support,
    Timer,
    TosProvider,
    TosWatch,
    Watch,
)
from relay.observe.kernel.owner import Process, owner_of
from relay.observe.kernel.syn import Syn, save_syn, syn_of
from relay.observe.kernel.wake import wake_failure
from relay.observe.leg_watch import LegWatch, WatchedLeg, own_syn
from relay.observe.providers import socket_filter
from relay.observe.providers.ebpf import EbpfProvider
from relay.observe.providers.in_process import InProcessProvider, in_process_syn_tos, is_watching
from relay.observe.providers.sock_diag import SockDiagProvider
from relay.observe.providers.socket_filter import SocketFilterProvider
from relay.observe.providers.tcp_info import TcpInfoProvider
from relay.observe.self_test import deafness_self_test, keepalive_self_test, tos_self_test

__all__ = [
    "OBSERVERS",
    "Fidelity",
    "Host",
    "KeepaliveProvider",
    "Observers",
    "Pollable",
    "Process",
    "Support",
    "Survey",
    "Syn",
    "Timer",
    "TosProvider",
    "TosWatch",
    "Watch",
    "owner_of",
    "save_syn",
    "survey",
    "syn_of",
]

NO_OBSERVER = "none"
OBSERVERS = (
    EbpfProvider.name,
    SocketFilterProvider.name,
    SockDiagProvider.name,
    InProcessProvider.name,
    TcpInfoProvider.name,
    NO_OBSERVER,
)
"""What `--observer` takes."""

_KERNEL = "kernel sockets"
_TOS, _HANDSHAKE, _BLACKHOLE = Want(Ability.TOS), Want(Ability.HANDSHAKE), Want(Ability.BLACKHOLE)
_PRIVILEGES = "cap_bpf,cap_net_admin"  # for a kernel before 5.8: cap_net_admin,cap_net_raw
_OPTION = "--observer"
_TOS_PROVIDERS: Mapping[str, Callable[[Host], TosProvider]] = MappingProxyType(
    {each.name: each for each in (EbpfProvider, SocketFilterProvider, SockDiagProvider, InProcessProvider)}
)
_WITHHELD = "the kernel withholds a segment that differs from its SYN, from any peer; IPv4"
_HOW_TOS = {
    EbpfProvider.name: Support(Fidelity.EXACT, EbpfProvider.name, _WITHHELD),
    SocketFilterProvider.name: Support(Fidelity.EXACT, SocketFilterProvider.name, _WITHHELD),
    SockDiagProvider.name: Support(
        Fidelity.APPROXIMATE,
        SockDiagProvider.name,
        "asked around reads and writes: bytes sent just before a change may be withheld with it, and only processes on "
        "this host are seen",
    ),
    InProcessProvider.name: Support(
        Fidelity.APPROXIMATE,
        InProcessProvider.name,
        "asked around reads and writes; only sockets of this process are seen, and only what is set through Python's "
        "socket module",
    ),
}


@dataclass(frozen=True, slots=True)
class Survey:
    """What this host gives for each want."""

    support: Mapping[Want, Support]
    """Per kind of want; the handshake's is that of the proxy protocols (SOCKS, HTTP CONNECT)."""
    tos_provider: str | None
    keepalive_provider: str | None

    def of(self, want: Want, *, forward: bool = False) -> Support:
        """Return the support for a want, with `forward` for connections that come through a port forward."""
        if want.kind == _HANDSHAKE and forward:
            return Support(
                Fidelity.APPROXIMATE,
                _KERNEL,
                "a port forward's client is accepted by the kernel before any behaviour is asked; a refusal is a reset",
                remedy="connect through SOCKS or HTTP CONNECT",
            )
        return self.support[want.kind]

    def open(self, host: Host) -> Observers:
        """Start the providers.

        Raises:
            Unsupported: one that passed its self-test cannot be had any more.
        """
        tos = _TOS_PROVIDERS[self.tos_provider](host) if self.tos_provider is not None else None
        keepalive = TcpInfoProvider(host) if self.keepalive_provider is not None else None
        return Observers(tos, keepalive, self.support[_BLACKHOLE].fidelity is Fidelity.EXACT)


@dataclass(frozen=True, slots=True)
class Observers:
    """The providers, running. None stands for a fact that this host cannot give."""

    tos: TosProvider | None
    keepalive: KeepaliveProvider | None
    can_deafen: bool

    def cover(self, listener: socket.socket, mask: int) -> None:
        """See a change in these bits of the TOS byte from the first segment of a listener's connections on."""
        if self.tos is not None:
            self.tos.cover(listener, mask)

    def watch(self, leg: WatchedLeg, wants: Collection[Want], witness: Witness) -> LegWatch:
        """See on a leg what is wanted, as far as there are providers for it."""
        if leg.syn is None:
            leg.syn = self._syn_of(leg.sock) if leg.accepted else own_syn(leg.sock)
        return LegWatch(leg, self.tos, self.keepalive, wants, witness)

    def blackhole(self, sock: socket.socket, on: bool) -> bool:
        """Have everything that comes for a socket dropped unseen, or no more; False where that is not to be had."""
        if not self.can_deafen:
            return False
        if on:
            return socket_filter.deafen(sock)
        socket_filter.undeafen(sock)
        return True

    def find_process(self, sock: socket.socket) -> tuple[int, str] | None:
        """The process that has the peer's end of a connection on this host."""
        process = owner_of(sock)
        return (process.pid, process.name) if process is not None else None

    def _syn_of(self, accepted: socket.socket) -> Syn:
        syn = syn_of(accepted)
        if not syn.kept and isinstance(self.tos, InProcessProvider):
            return Syn(in_process_syn_tos(accepted))
        return syn

    def close(self) -> None:
        if self.tos is not None:
            self.tos.close()
        if self.keepalive is not None:
            self.keepalive.close()


def survey(observer: str | None = None) -> Survey:
    """Find out what this host gives. The first call tries each provider on loopback; the results are kept.

    `observer` names the provider to use for the facts that it supplies, or is `none`.

    Raises:
        ConfigError: no provider has that name.
        Unsupported: the provider that was named fails its self-test.
    """
    if observer is not None and observer not in OBSERVERS:
        near = difflib.get_close_matches(observer, OBSERVERS, n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"{_OPTION}: there is no observer {observer!r}", hint=f"{guess}there are: {', '.join(OBSERVERS)}"
        )
    if observer in _HOW_TOS or observer == TcpInfoProvider.name:
        failure = _failure(observer)
        if failure is not None:
            raise Unsupported(f"{_OPTION}: {observer} does not work here: {failure}", hint=_remedy(observer))
    usable = [name for name in OBSERVERS if NO_OBSERVER not in (observer, name) and _failure(name) is None]
    tos = observer if observer in _HOW_TOS else next((name for name in usable if name in _HOW_TOS), None)
    keepalive = TcpInfoProvider.name if TcpInfoProvider.name in usable else None
    support = {
        _TOS: _tos_support(observer, tos),
        Want(Ability.KEEPALIVE): _keepalive_support(observer, keepalive),
        Want(Ability.KEEPALIVE_ANSWER, by="nat"): _answer_support(_keepalive_support(observer, keepalive)),
        _HANDSHAKE: Support(
            Fidelity.EXACT, _KERNEL, "the reply of SOCKS or HTTP CONNECT is sent when a behaviour grants the connection"
        ),
        Want(Ability.CLOSE): _close_support(),
        Want(Ability.ACK, by="nat"): Support(
            Fidelity.EXACT, _KERNEL, "the relay's kernel acknowledges what the app sends"
        ),
        Want(Ability.ACK, by="server"): Support(
            Fidelity.APPROXIMATE,
            _KERNEL,
            "the relay's kernel acknowledges first; what the server never took is reported as lost",
        ),
        _BLACKHOLE: _deafness_support(observer),
    }
    return Survey(MappingProxyType(support), tos, keepalive)


def _failure(provider: str) -> str | None:
    """Return why a provider cannot be used, or None."""
    if provider == InProcessProvider.name:
        return None if is_watching() else "this process's sockets are not watched"
    return _self_test_failure(provider)


@cache
def _self_test_failure(provider: str) -> str | None:
    if provider == TcpInfoProvider.name:
        return keepalive_self_test() if sys.platform == "linux" else "no TCP_INFO with segment counters on this system"
    return tos_self_test(_TOS_PROVIDERS[provider])


@cache
def _wake_failure() -> str | None:
    return wake_failure()


@cache
def _deafness_failure() -> str | None:
    return deafness_self_test()


def _remedy(provider: str) -> str:
    if provider == InProcessProvider.name:
        return "it serves tests, through the pytest fixture"
    if sys.platform != "linux":
        return "use relay on Linux"
    if os.strerror(errno.EMFILE) in (_failure(provider) or ""):
        return "raise the limit of descriptors (ulimit -n)"
    if provider in (EbpfProvider.name, SocketFilterProvider.name):
        return (
            "run it with sudo, or give the interpreter the privilege: "
            f"sudo setcap {_PRIVILEGES}+ep {os.path.realpath(sys.executable)}"
        )
    return "run it in the network namespace of the app"


def _tos_support(observer: str | None, provider: str | None) -> Support:
    if observer == NO_OBSERVER:
        return Support(Fidelity.IMPOSSIBLE, "none", "no provider is to be used", remedy=f"leave {_OPTION} none out")
    if provider is None:
        reason = "; ".join(f"{name}: {_failure(name)}" for name in _HOW_TOS)
        return Support(Fidelity.IMPOSSIBLE, "none", reason, remedy=_remedy(EbpfProvider.name))
    support = _HOW_TOS[provider]
    if provider == EbpfProvider.name:
        return support
    if provider == SocketFilterProvider.name:
        failure = _wake_failure()
        if failure is None:
            return support
        how = f"{support.how}; noticed by polling, within 5 to 200 ms ({failure})"
        return Support(support.fidelity, support.provider, how, remedy=_remedy(provider))
    better = f"leave {_OPTION} out" if observer is not None else _remedy(EbpfProvider.name)
    return Support(support.fidelity, support.provider, support.how, remedy=better)


def _keepalive_support(observer: str | None, provider: str | None) -> Support:
    if provider is not None:
        return Support(
            Fidelity.EXACT,
            provider,
            "each probe raises the socket's segment counters; looked at every 0.5 s, or 2 s after 5 s of silence",
        )
    if observer == NO_OBSERVER:
        return Support(Fidelity.IMPOSSIBLE, "none", "no provider is to be used", remedy=f"leave {_OPTION} none out")
    how = f"{TcpInfoProvider.name}: {_failure(TcpInfoProvider.name)}"
    return Support(Fidelity.IMPOSSIBLE, "none", how, remedy=_remedy(TcpInfoProvider.name))


def _answer_support(seen: Support) -> Support:
    if seen.fidelity is Fidelity.EXACT:
        return Support(Fidelity.EXACT, seen.provider, "the relay's kernel answers each probe; " + seen.how)
    how = "the relay's kernel answers each probe, but none is seen: the event log does not tell of them"
    return Support(Fidelity.APPROXIMATE, _KERNEL, how, seen.remedy)


def _close_support() -> Support:
    if sys.platform == "linux":
        how = (
            "FIN and RST as the app sees them; the RST carries the kernel's sequence and ACK flag, not vmnat's bare RST"
        )
        return Support(Fidelity.EXACT, _KERNEL, how)
    return Support(
        Fidelity.APPROXIMATE,
        _KERNEL,
        "FIN and RST by the kernel's sockets, measured on Linux alone",
        "use relay on Linux",
    )


def _deafness_support(observer: str | None) -> Support:
    failure = "no provider is to be used" if observer == NO_OBSERVER else _deafness_failure()
    if failure is None:
        return Support(Fidelity.EXACT, SocketFilterProvider.name, "a socket filter drops whatever comes")
    remedy = f"leave {_OPTION} none out" if observer == NO_OBSERVER else _remedy(EbpfProvider.name)
    return Support(Fidelity.APPROXIMATE, _KERNEL, f"the app is reset instead: {failure}", remedy)
