"""What this host can see and do: the providers of abilities, tried and chosen.

    survey(observer)  -->  Survey: for each kind of want a Support (exact, approximate or impossible, how, remedy)
                             | open(host)
                           Observers: the providers, running

The first of `PROVIDERS` that gives a kind of want and passes its self-test is chosen for it. What none gives is
labelled, never pretended. A new provider is one file and its place in `PROVIDERS`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from relay.abilities import KINDS, Want
from relay.errors import ConfigError, Unsupported
from relay.observe._api import Failure, Fidelity, Offer, Provider, Support
from relay.observe.kernel.host import Host
from relay.observe.observers import Observers
from relay.observe.providers.blackhole import BlackholeProvider
from relay.observe.providers.ebpf import EbpfProvider
from relay.observe.providers.in_process import InProcessProvider
from relay.observe.providers.kernel_sockets import KernelSocketsProvider
from relay.observe.providers.repair import RepairProvider
from relay.observe.providers.sock_diag import SockDiagProvider
from relay.observe.providers.socket_filter import PolledSocketFilterProvider, SocketFilterProvider
from relay.observe.providers.tcp_info import TcpInfoProvider

PROVIDERS: tuple[type[Provider], ...] = (
    EbpfProvider,
    SocketFilterProvider,
    PolledSocketFilterProvider,
    SockDiagProvider,
    InProcessProvider,
    TcpInfoProvider,
    BlackholeProvider,
    RepairProvider,
    KernelSocketsProvider,
)
"""The better before the worse, where two give the same."""

NO_OBSERVER = "none"
_OPTION = "--observer"


@dataclass(frozen=True, slots=True)
class Survey:
    """What this host gives."""

    support: Mapping[Want, Support]
    """Per kind of want. Of connections through a front end that says less of itself, that holds."""
    chosen: Mapping[Want, type[Provider]]
    """By which provider; a kind of want that none gives is missing."""

    def of(self, want: Want) -> Support:
        """Return the support for a want."""
        return self.support[want.kind]

    def open(self, host: Host) -> Observers:
        """Start the providers.

        Raises:
            Unsupported: one that passed its self-test cannot be had any more.
        """
        return Observers(self.chosen, host)


def observer_names() -> tuple[str, ...]:
    """What `--observer` takes."""
    return (*dict.fromkeys(provider.name for provider in PROVIDERS if provider.optional), NO_OBSERVER)


def survey(observer: str | None = None) -> Survey:
    """Find out what this host gives. The first call tries providers on loopback; what they found is kept.

    `observer` names the provider to use for what it gives, or is `none`.

    Raises:
        ConfigError: no provider has that name.
        Unsupported: the provider that was named fails its self-test.
    """
    if observer is not None and observer not in observer_names():
        raise ConfigError(f"{_OPTION}: there is no observer {observer!r}", hint=_suggestion(observer))
    support: dict[Want, Support] = {}
    chosen: dict[Want, type[Provider]] = {}
    for want in KINDS:
        provider, support[want] = _choose(want, observer)
        if provider is not None:
            chosen[want] = provider
    return Survey(MappingProxyType(support), MappingProxyType(chosen))


def _suggestion(word: str) -> str:
    """The observer whose name is nearest, or whose purpose has the word in it; and all of them with their purposes."""
    purposes = dict.fromkeys(observer_names(), "")
    for provider in PROVIDERS:
        if provider.optional:
            purposes[provider.name] = purposes[provider.name] or provider.purpose
    near = difflib.get_close_matches(word.lower(), [name for name in purposes if name != NO_OBSERVER], n=1)
    purposes[NO_OBSERVER] = "off: no TOS byte and no keepalive probe is seen"
    near = near or [name for name, purpose in purposes.items() if word.lower() in re.findall(r"\w+", purpose.lower())]
    guess = f"did you mean {near[0]!r}? " if near else ""
    listed = "; ".join(f"{name} ({purpose})" if purpose else name for name, purpose in purposes.items())
    return f"{guess}there are: {listed}"


def _choose(want: Want, observer: str | None) -> tuple[type[Provider] | None, Support]:
    able = [provider for provider in PROVIDERS if want in provider.offers]
    named = [provider for provider in able if provider.name == observer]
    candidates = [each for each in able if not each.optional] if observer == NO_OBSERVER else named or able
    failures: list[tuple[type[Provider], Failure]] = []
    for provider in candidates:
        failure = provider.self_test()
        if failure is None:
            break
        failures.append((provider, failure))
    else:
        provider = None
    remedies = [failed.remedy(failure) for failed, failure in failures]
    if len(candidates) < len(able):
        remedies.append(f"leave {_OPTION} {NO_OBSERVER} out" if observer == NO_OBSERVER else f"leave {_OPTION} out")
    remedy = next(filter(None, remedies), "")
    why = failures[-1][1].reason if failures else "no observer is in use"
    if provider is not None:
        return provider, _support(provider.name, provider.offers[want], why, remedy)
    if named:
        raise Unsupported(f"{_OPTION}: {observer} does not work here: {why}", hint=remedy)
    reasons = "; ".join(dict.fromkeys(f"{failed.name}: {failure.reason}" for failed, failure in failures))
    return None, Support(Fidelity.IMPOSSIBLE, NO_OBSERVER, reasons or why, remedy)


def _support(name: str, offer: Offer, why: str, remedy: str) -> Support:
    """What a provider gives. If a better one would give more, `why` that is not used, and the remedy, are in it."""
    falls_short = offer.fidelity is not Fidelity.EXACT or "{why}" in offer.how
    return Support(
        offer.fidelity, name, offer.how.replace("{why}", why), offer.remedy or (remedy if falls_short else "")
    )
