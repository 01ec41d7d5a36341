"""The probes that there are, in the order in which they run."""

from __future__ import annotations

from relay.probe.probe import Probe
from relay.probe.probes import close, handshake, idle, idle_refresh, keepalive, lifetime, local_ack, refusal, tos

PROBES: tuple[Probe, ...] = (
    handshake.PROBE,
    refusal.PROBE,
    close.PROBE,
    local_ack.PROBE,
    keepalive.PROBE,
    tos.PROBE,
    idle.PROBE,
    idle_refresh.PROBE,
    lifetime.PROBE,
)
