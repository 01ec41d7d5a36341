"""The probes that there are, in the order in which they run."""

from __future__ import annotations

from relay.probe.probe import Probe
from relay.probe.probes import (
    close,
    dial_tail,
    flows,
    guess,
    handshake,
    idle,
    idle_refresh,
    keepalive,
    lifetime,
    local_ack,
    pending,
    ports,
    refusal,
    syn,
    tos,
    udp,
    watch,
)

PROBES: tuple[Probe, ...] = (
    handshake.PROBE,
    refusal.PROBE,
    close.PROBE,
    local_ack.PROBE,
    keepalive.PROBE,
    tos.PROBE,
    syn.PROBE,
    pending.PROBE,
    dial_tail.PROBE,
    ports.PROBE,
    idle.PROBE,
    idle_refresh.PROBE,
    udp.PROBE,
    lifetime.PROBE,
    watch.PROBE,
    flows.PROBE,
    guess.PROBE,
)
