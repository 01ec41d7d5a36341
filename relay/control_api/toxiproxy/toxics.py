"""Toxics: their types and attributes, and the fault that each is.

A toxic works on one direction, its stream: upstream toward the server, downstream toward the client. Its attributes are
in toxiproxy's units; `_TYPES` has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from relay.control_api.exchange import Refused
from relay.control_api.json_body import Fields
from relay.control_api.toxiproxy.behaviour_toxics import BehaviourToxic, is_behaviour
from relay.control_api.toxiproxy.named_toxic import NamedToxic
from relay.events import Side
from relay.fault import Fault
from relay.shape import Shape

Attributes: TypeAlias = Mapping[str, float]
STREAMS = ("upstream", "downstream")
_MOST = 2**40  # of any attribute: 34 years in ms
_NOTHING = Shape(limit_bytes=0)  # no byte passes, an end does: what comes meanwhile is dropped at the end


def _slicer(side: Side, of: Attributes) -> Fault:
    shape = Shape(
        slice_bytes=int(of["average_size"]),
        slice_delay_s=of["delay"] / 1e6,
        slice_variation_bytes=int(of["size_variation"]),
    )
    return Fault(side=side, shape=shape)


def _timeout(side: Side, of: Attributes) -> Fault:
    return Fault(side=side, shape=_NOTHING, end_after_s=of["timeout"] / 1000 or None, end_when_lifted=True)


_TYPES: Mapping[str, tuple[tuple[str, ...], Callable[[Side, Attributes], Fault]]] = MappingProxyType(
    {
        "latency": (
            ("latency", "jitter"),
            lambda side, of: Fault(side=side, shape=Shape(delay_s=of["latency"] / 1000, jitter_s=of["jitter"] / 1000)),
        ),
        "bandwidth": (("rate",), lambda side, of: Fault(side=side, shape=Shape(rate_bytes_per_s=of["rate"] * 1000))),
        "slow_close": (("delay",), lambda side, of: Fault(side=side, shape=Shape(end_delay_s=of["delay"] / 1000))),
        "timeout": (("timeout",), _timeout),
        "reset_peer": (
            ("timeout",),
            lambda side, of: Fault(side=side, shape=_NOTHING, end="rst", end_after_s=of["timeout"] / 1000),
        ),
        "slicer": (("average_size", "size_variation", "delay"), _slicer),
        "limit_data": (
            ("bytes",),
            lambda side, of: Fault(side=side, shape=Shape(limit_bytes=int(of["bytes"])), end_at_limit=True),
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Toxic(NamedToxic):
    """A toxic of one proxy that toxiproxy has, too."""

    attributes: Attributes

    def changed(self, fields: Fields) -> Toxic:
        """The same with the attributes, and the toxicity, that a request gives.

        Raises:
            Refused: something in it is wrong.
        """
        toxicity = fields.number("toxicity", self.toxicity, low=0, high=1)
        given, attributes = fields.fields("attributes"), dict(self.attributes)
        for name in _TYPES[self.type][0]:
            attributes[name] = given.number(name, attributes[name], low=0, high=_MOST)
        given.done()
        return replace(self, toxicity=toxicity, attributes=attributes)

    @property
    def fault(self) -> Fault:
        """What a flow suffers by it."""
        side = Side.EXTERNAL if self.stream == "upstream" else Side.INTERNAL
        return replace(_TYPES[self.type][1](side, self.attributes), share=self.toxicity)


AnyToxic: TypeAlias = Toxic | BehaviourToxic


def read_toxic(fields: Fields) -> AnyToxic:
    """The toxic that a request describes.

    Raises:
        Refused: something in it is wrong.
    """
    kind, stream = fields.text("type", ""), fields.text("stream", "downstream")
    if kind not in _TYPES and not is_behaviour(kind):
        hint = f"the types: {', '.join(_TYPES)}, profile, and the name of any behaviour"
        raise Refused(400, f"invalid toxic type: {kind!r}", hint=hint)
    if stream not in STREAMS:
        raise Refused(400, f"stream was invalid: {stream!r}", hint="it is upstream or downstream")
    name = fields.text("name", "") or f"{kind}_{stream}"
    if kind in _TYPES:
        return Toxic(name, kind, stream, 1.0, dict.fromkeys(_TYPES[kind][0], 0)).changed(fields)
    return BehaviourToxic(name, kind, stream, 1.0, {}).changed(fields)
