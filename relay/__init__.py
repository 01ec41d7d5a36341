"""A relay that behaves like a hypervisor's user-space NAT.

In code without an event loop:

    with relay.serve_in_thread("vmware-fusion", tos_reset={"mask": 0xFC}) as nat:
        host, port = nat.forward("127.0.0.1", 22)     # or nat.socks_url, nat.http_url, nat.env
        ...
        nat.wait_for("flow-ended", because="tos-reset")

In an asyncio or trio program, with the same verbs, of which those that wait are awaited:

    async with relay.open_relay("vmware-fusion") as nat:
        ...
        await nat.wait_for("flow-ended", because="tos-reset")

With pytest there is the fixture `nat_relay`. `help(relay.RunningRelay)` has the verbs, `relay explain PROFILE` in a
shell the quirks and their settings. A quirk of your own is a class over `relay.events` and `relay.actions`; see
`relay.behaviours`.

More names, for annotations and for what is less common:

    RunningRelay, AsyncRelay, RelayHandle        what the two functions give, and what both have
    Record, FlowStory, EventType, EventLog       what happens: the event log
    Profile, QuirkFidelity, RelayConfig          what a relay is made from, and how well this host shows it
    Endpoint, ForwardSpec, ResolveOverride, Side, RelayOptions
    RelayError, ConfigError, Unsupported         what goes wrong, each with a hint

`import relay` alone loads next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.address import Endpoint as Endpoint
    from relay.address import ForwardSpec as ForwardSpec
    from relay.address import ResolveOverride as ResolveOverride
    from relay.config import RelayConfig as RelayConfig
    from relay.config.options import RelayOptions as RelayOptions
    from relay.errors import ConfigError as ConfigError
    from relay.errors import RelayError as RelayError
    from relay.errors import Unsupported as Unsupported
    from relay.events import Side as Side
    from relay.fidelity import QuirkFidelity as QuirkFidelity
    from relay.handles import AsyncRelay as AsyncRelay
    from relay.handles import RelayHandle as RelayHandle
    from relay.handles import RunningRelay as RunningRelay
    from relay.handles import open_relay, serve_in_thread
    from relay.log import EventLog as EventLog
    from relay.log import EventType as EventType
    from relay.log import Record as Record
    from relay.log.memory import FlowStory as FlowStory
    from relay.profiles import Profile as Profile
    from relay.profiles import load_profile
    from relay.server import Relay as Relay

__all__ = ["load_profile", "open_relay", "serve_in_thread"]  # what `help(relay)` is to show in full

_HOME = {
    name: module
    for module, names in {
        "relay.address": ("Endpoint", "ForwardSpec", "ResolveOverride"),
        "relay.config": ("RelayConfig",),
        "relay.config.options": ("RelayOptions",),
        "relay.errors": ("ConfigError", "RelayError", "Unsupported"),
        "relay.events": ("Side",),
        "relay.fidelity": ("QuirkFidelity",),
        "relay.handles": ("AsyncRelay", "RelayHandle", "RunningRelay", "open_relay", "serve_in_thread"),
        "relay.log": ("EventLog", "EventType", "Record"),
        "relay.log.memory": ("FlowStory",),
        "relay.profiles": ("Profile", "load_profile"),
        "relay.server": ("Relay",),
    }.items()
    for name in names
}


if not TYPE_CHECKING:  # a type checker is to complain of names that do not exist

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})
