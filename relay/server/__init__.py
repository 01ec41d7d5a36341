"""A running relay: listeners, the engine, and the driver behind them.

    async with open_relay(configure("vmware-fusion", listen="127.0.0.1:0")) as nat:
        ...                     # nat.address is where the proxy listens

Runs inside any asyncio or trio program. Leaving the block stops it at once; `drain` first lets flows end by themselves.
"""

from relay.server.opening import open_relay, ways_in
from relay.server.relay import Relay, Share
from relay.server.started import Started, emit_started

__all__ = ["Relay", "Share", "Started", "emit_started", "open_relay", "ways_in"]
