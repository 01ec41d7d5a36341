"""How a mapping of UDP begins and ends: what every flow of datagrams is asked.

It is no setting of a profile under its own name: `stack.udp_idle_s` sets it, for the proxy as for wire mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.actions import Dial, Forget, Refuse, WatchIdle
from relay.behaviours._api import Actions, Behaviour
from relay.events import ConnectRequested, DialFailed, DialSucceeded, Side, WentIdle


@dataclass(frozen=True)
class UdpTimeout(Behaviour):
    """End a mapping that no datagram has passed for `after_s` seconds, either way; 0: never.

    The NAT looks once in as long a time, so the mapping ends after `after_s` to twice as long. Nothing is sent then; a
    reply that comes later is dropped, and the app's next datagram makes a new mapping.
    """

    after_s: float

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        yield Dial()

    def on_dial_failed(self, event: DialFailed) -> Actions:
        yield Refuse(event.failure)

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        if self.after_s:
            yield WatchIdle("idle", self.after_s, sweep_s=self.after_s)

    def on_went_idle(self, event: WentIdle) -> Actions:
        for side in Side:
            yield Forget(side, "silence", 0.0)
