"""The probes that there are, in the order in which they run."""

from __future__ import annotations

from relay.probe.probe import Probe
from relay.probe.probes import close, handshake, refusal, tos

PROBES: tuple[Probe, ...] = (handshake.PROBE, refusal.PROBE, close.PROBE, tos.PROBE)
