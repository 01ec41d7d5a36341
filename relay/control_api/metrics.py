"""What a relay has carried, in the text format of Prometheus (version 0.0.4).

The bytes of flows that are open count, so counters move while a connection lives. Toxiproxy's two metrics are there by
name, with its labels: a proxy is a port forward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from relay.address import Endpoint
from relay.control import OpenFlow
from relay.totals import Totals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class ProxyLabels:
    """A port forward, as toxiproxy's labels have it."""

    name: str
    listener: Endpoint
    upstream: str


def metrics_text(
    totals: Totals, open_flows: Iterable[OpenFlow], resets: Mapping[str, int], proxies: Iterable[ProxyLabels]
) -> str:
    """All metrics: `totals` are those of flows that have ended, `resets` are by what sent them."""
    sent_out, sent_in = Counter(totals.forwards_out), Counter(totals.forwards_in)
    received_out, received_in = Counter(totals.received_out), Counter(totals.received_in)
    bytes_out, bytes_in = totals.bytes_out, totals.bytes_in
    for flow in open_flows:
        bytes_out, bytes_in = bytes_out + flow.bytes_out, bytes_in + flow.bytes_in
        if flow.forward is not None:
            sent_out[flow.forward] += flow.bytes_out
            sent_in[flow.forward] += flow.bytes_in
            received_out[flow.forward] += flow.received_out
            received_in[flow.forward] += flow.received_in
    lines = [
        *_metric("relay_flows_total", "counter", "Flows that have begun.", [({}, totals.flows)]),
        *_metric("relay_flows_open", "gauge", "Flows that are open.", [({}, totals.open)]),
        *_metric(
            "relay_flows_ended_total",
            "counter",
            "Flows that have ended, by what began the end: a cause, or a behaviour.",
            [({"cause": cause}, count) for cause, count in sorted(totals.ended_by.items())],
        ),
        *_metric(
            "relay_resets_total",
            "counter",
            "Resets that the relay has sent, by the cause, or the behaviour, that had them sent.",
            [({"behaviour": behaviour}, count) for behaviour, count in sorted(resets.items())],
        ),
        *_metric(
            "relay_bytes_total",
            "counter",
            "Bytes carried: out, from apps to servers, and in.",
            [({"direction": "out"}, bytes_out), ({"direction": "in"}, bytes_in)],
        ),
    ]
    listed = list(proxies)
    for name, meaning, out, inward in (
        ("received", "received by", received_out, received_in),
        ("sent", "sent through", sent_out, sent_in),
    ):
        samples = []
        for proxy in listed:
            labels = {"listener": str(proxy.listener), "proxy": proxy.name, "upstream": proxy.upstream}
            for direction, counts in (("upstream", out), ("downstream", inward)):
                samples.append(({"direction": direction, **labels}, counts[proxy.listener]))
        lines += _metric(f"toxiproxy_proxy_{name}_bytes_total", "counter", f"Bytes {meaning} a proxy.", samples)
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], int]]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{told}}} {value}" if told else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
