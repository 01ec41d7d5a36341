"""A relay that behaves like a hypervisor's user-space NAT.

In an asyncio or trio program:

    async with relay.open_relay("vmware-fusion", settings={"tos_reset": {"mask": 0xFC}}) as nat:
        ...                       # nat.address is where the proxy listens, nat.log tells what happens

In code without an event loop:

    with relay.serve_in_thread("vmware-fusion") as nat:
        ...                       # nat.socks_url, nat.http_url, nat.env, nat.wait_for(...)

With pytest there is the fixture `nat_relay`. A quirk of your own is a class over `relay.events` and `relay.actions`;
`relay.behaviours` tells how.

`import relay` alone loads next to nothing, for every pytest run that finds the plugin imports it, whether it uses the
relay or not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.address import Endpoint, ForwardSpec, ResolveOverride
    from relay.config import RelayConfig
    from relay.config.options import RelayOptions
    from relay.embedding import open_relay
    from relay.errors import ConfigError, RelayError, Unsupported
    from relay.events import Side
    from relay.fidelity import QuirkFidelity
    from relay.log import EventLog, EventType, Record
    from relay.log.memory import FlowStory
    from relay.profiles import Profile, load_profile
    from relay.server import Relay
    from relay.testing import RunningRelay, serve_in_thread

__all__ = [
    "ConfigError",
    "Endpoint",
    "EventLog",
    "EventType",
    "FlowStory",
    "ForwardSpec",
    "Profile",
    "QuirkFidelity",
    "Record",
    "Relay",
    "RelayConfig",
    "RelayError",
    "RelayOptions",
    "ResolveOverride",
    "RunningRelay",
    "Side",
    "Unsupported",
    "load_profile",
    "open_relay",
    "serve_in_thread",
]

_HOME = {
    name: module
    for module, names in {
        "relay.address": ("Endpoint", "ForwardSpec", "ResolveOverride"),
        "relay.config": ("RelayConfig",),
        "relay.embedding": ("open_relay",),
        "relay.errors": ("ConfigError", "RelayError", "Unsupported"),
        "relay.log": ("EventLog", "EventType", "Record"),
        "relay.events": ("Side",),
        "relay.fidelity": ("QuirkFidelity",),
        "relay.config.options": ("RelayOptions",),
        "relay.profiles": ("Profile", "load_profile"),
        "relay.log.memory": ("FlowStory",),
        "relay.server": ("Relay",),
        "relay.testing": ("RunningRelay", "serve_in_thread"),
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
        return sorted({*globals(), *__all__})
