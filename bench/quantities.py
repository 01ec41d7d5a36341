"""What is measured: each quantity, how one measurement of it is taken, and which figures that gives.

How much a measurement carries follows from how fast the way is: the warm-up, which does not count, finds the amount
that lasts about `Scale.each_s`, within bounds. So a proxy that is a hundred times slower does not take a hundred times
as long, and the fastest still runs long enough for CPU time, which comes in ticks of 10 ms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from bench import process
from bench.ends import Ends, Via
from bench.through import Running
from bench.web import Web

_MIB, _GIB = 1 << 20, 1 << 30
_MESSAGE_BYTES = 64  # a keystroke, a small request
_FRESH_ROUNDS = 3  # opening 10,000 flows takes seconds for each of a dozen proxies
_SPARE_DESCRIPTORS = 400  # 64 busy flows, some just closed, a proxy's pipes, listeners, libraries
_SETTLE_CONNECTS = 200  # what is made once and kept (pools, caches, lazy imports) is not growth


@dataclass(frozen=True)
class Scale:
    """How large measurements are."""

    each_s: float = 1.0
    idle_flows: Sequence[int] = (1000, 10_000)
    idle_settle_s: float = 6.0
    """How long flows have been idle before that is watched: the relay looks often at what was busy 5 s ago."""
    idle_watch_s: float = 4.0
    """For how long CPU time is watched while nothing happens."""


FULL = Scale()
QUICK = Scale(each_s=0.02, idle_flows=(50, 100), idle_settle_s=0.0, idle_watch_s=0.2)


def within_descriptors(scale: Scale, limit: int) -> Scale:
    """With no more idle flows than a proxy can hold beside 64 busy ones; each takes two of its descriptors."""
    most = (limit - _SPARE_DESCRIPTORS) // 2
    return replace(scale, idle_flows=sorted({min(count, most) for count in scale.idle_flows}))


@dataclass
class Pace:
    """The amount for the next measurement of each quantity through each way."""

    scale: Scale
    _amounts: dict[tuple[str, int], int] = field(default_factory=dict)

    def run(self, quantity: str, port: int, first: int, bounds: tuple[int, int], run: Measure) -> dict[str, float]:
        """Run with the amount that fits, and learn from how long that took."""
        low, high = bounds
        key = f"{quantity} {first}", port
        amount = self._amounts.get(key, low)
        figures = run(amount)
        fitting = int(amount * self.scale.each_s / figures["took_s"])
        self._amounts[key] = max(low, min(high, fitting))
        return figures


Measure: TypeAlias = Callable[[int], dict[str, float]]


@dataclass(frozen=True)
class Quantity:
    """One thing to measure; its name is what `--only` takes."""

    name: str
    title: str
    figures: Mapping[str, str]
    """By name in the results, title in the table."""
    measure: Callable[[Ends, Running, Pace], dict[str, float]]
    via: Via | None = None
    """What a proxy must speak to be asked; None: anything."""
    beside: str = "HAProxy"
    """Whose figures the table sets the others' in ratio to."""
    web: bool = False
    """Whether it takes plain HTTP's ends, nginx, wrk and ab."""
    fresh: bool = False
    """Measured in a process that has done nothing else yet; in no warm-up then, and in three rounds at most."""

    def asked_of(self, vias: Sequence[Via], only: Sequence[str]) -> bool:
        """Whether a way that speaks `vias`, and is there for `only`, is measured."""
        return (self.via is None or self.via in vias) and (not only or self.name in only)

    def counts_in(self, number: int) -> bool:
        """Whether round `number` measures it; 0 is the warm-up."""
        return not self.fresh or 0 < number <= _FRESH_ROUNDS


def _bulk(direction: str, flows: int) -> Quantity:
    def measure(ends: Ends, running: Running, pace: Pace) -> dict[str, float]:
        via, port = running.carrier
        before_s = process.cpu_s(running.pid) if running.pid else 0.0

        def run(amount: int) -> dict[str, float]:
            return ends.measure(via, port, f"bulk-{direction}", flows, amount)

        figures = pace.run(f"bulk-{direction}", port, flows, (32 * _MIB, 16 * _GIB), run)
        result = {"gib_per_s": figures["gib_per_s"]}
        if running.pid:
            result["cpu_s_per_gib"] = (process.cpu_s(running.pid) - before_s) / (figures["bytes"] / _GIB)
        return result

    title = f"bulk {direction}, " + ("1 flow" if flows == 1 else f"{flows} flows")
    figures = {"gib_per_s": "GiB/s", "cpu_s_per_gib": "proxy's CPU s/GiB"}
    return Quantity(f"bulk-{direction}-{flows}", title, figures, measure)


def _connects(via: Via, at_a_time: int, beside: str) -> Quantity:
    def measure(ends: Ends, running: Running, pace: Pace) -> dict[str, float]:
        before_s = process.cpu_s(running.pid) if running.pid else 0.0
        result = connect_rate(ends, via, running.ports[via], at_a_time, pace)
        count = result.pop("count")
        if running.pid:
            result["cpu_us"] = (process.cpu_s(running.pid) - before_s) * 1e6 / count
        return result

    figures = {
        "per_s": "connections/s",
        "p50_us": "to the first byte, p50 us",
        "p99_us": "p99 us",
        "cpu_us": "proxy's CPU us/connection",
    }
    names = {"forward": "forward", "socks5": "SOCKS5", "connect": "HTTP CONNECT"}
    title = f"{names[via]}: connect, a byte each way, close; {at_a_time} at a time"
    return Quantity(f"{via}-{at_a_time}", title, figures, measure, via, beside)


def connect_rate(ends: Ends, via: Via, port: int, at_a_time: int, pace: Pace) -> dict[str, float]:
    """Connections a second, the time from connecting to the origin's byte, and how many it were."""

    def run(amount: int) -> dict[str, float]:
        return ends.measure(via, port, "connects", at_a_time, amount)

    figures = pace.run(f"connects {via}", port, at_a_time, (2 * at_a_time + 50, 100_000), run)
    return {name: figures[name] for name in ("per_s", "p50_us", "p99_us", "count")}


def round_trips(ends: Ends, running: Running, pace: Pace) -> dict[str, float]:
    """The time of a small message there and back, on a connection that is up."""
    via, port = running.carrier

    def run(amount: int) -> dict[str, float]:
        return ends.measure(via, port, "ping-pong", _MESSAGE_BYTES, amount)

    figures = pace.run("ping-pong", port, _MESSAGE_BYTES, (200, 100_000), run)
    return {name: figures[name] for name in ("p50_us", "p99_us")}


_ROUND_TRIP = {
    "p50_us": "p50 us",
    "p99_us": "p99 us",
}


def _idle(count: int) -> Quantity:
    def measure(ends: Ends, running: Running, pace: Pace) -> dict[str, float]:
        via, port = running.carrier
        result: dict[str, float] = {}
        ends.measure(via, port, "connects", 64, _SETTLE_CONNECTS)
        empty_kib = process.resident_kib(running.pid) if running.pid else 0.0
        with ends.idle_flows(via, port, count):
            if running.pid:
                result["kib_per_flow"] = (process.resident_kib(running.pid) - empty_kib) / count
                time.sleep(pace.scale.idle_settle_s)
                before_s, began_s = process.cpu_s(running.pid), time.monotonic()
                time.sleep(pace.scale.idle_watch_s)
                result["cpu_percent"] = 100 * (process.cpu_s(running.pid) - before_s) / (time.monotonic() - began_s)
            busy = Pace(pace.scale)
            for _ in range(2):  # the first finds the amount
                rate = connect_rate(ends, via, port, 64, busy)
                trips = round_trips(ends, running, busy)
        return result | {"per_s": rate["per_s"]} | trips

    figures = {
        "kib_per_flow": "KiB/flow",
        "cpu_percent": "CPU, % of a core",
        "per_s": "connections/s meanwhile, 64 at a time",
        "p50_us": "ping-pong meanwhile, p50 us",
        "p99_us": "p99 us",
    }
    return Quantity(f"idle-{count}", f"{count} idle flows", figures, measure, fresh=True)


def _http(name: str, title: str, load: Callable[[Web, int, Pace], dict[str, float]], *others: str) -> Quantity:
    """Plain HTTP through a proxy's port, which is the one that takes CONNECT."""

    def measure(ends: Ends, running: Running, pace: Pace) -> dict[str, float]:
        assert ends.web is not None
        before_s = process.cpu_s(running.pid) if running.pid else 0.0
        result = load(ends.web, running.ports["connect"], pace)
        if running.pid:
            result["cpu_us"] = (process.cpu_s(running.pid) - before_s) * 1e6 / result["count"]
        return {figure: result[figure] for figure in figures}

    titles = {
        "per_s": "requests/s",
        "p50_us": "p50 us",
        "p99_us": "p99 us",
        "cpu_us": "proxy's CPU us/request",
        "kept_percent": "on a kept connection, %",
        "gib_per_s": "GiB/s",
    }
    figures = {figure: titles[figure] for figure in ("per_s", "p50_us", "p99_us", "cpu_us", *others)}
    return Quantity(name, f"plain HTTP: {title}", figures, measure, "connect", "proxy.py", web=True)


def _kept(connections: int, path: str = "/") -> Callable[[Web, int, Pace], dict[str, float]]:
    return lambda web, port, pace: web.wrk(port, connections, max(1, round(pace.scale.each_s)), path)


def _of_http_1_0(connections: int, *, keep: bool) -> Callable[[Web, int, Pace], dict[str, float]]:
    def load(web: Web, port: int, pace: Pace) -> dict[str, float]:
        def run(amount: int) -> dict[str, float]:
            return web.ab(port, connections, amount, keep=keep)

        # Each request's connection stays in TIME_WAIT at the client's end for a minute, and there are 28,232 ports.
        most = 100_000 if keep else 2_000
        return pace.run(f"http-1.0 {keep}", port, connections, (4 * connections, most), run)

    return load


def quantities(scale: Scale) -> list[Quantity]:
    """All of them, in the table's order."""
    return [
        *(_bulk(direction, flows) for flows in (1, 8) for direction in ("up", "down")),
        *(_connects("forward", at_a_time, "HAProxy") for at_a_time in (1, 64)),
        *(_connects("socks5", at_a_time, "microsocks") for at_a_time in (1, 64)),
        *(_connects("connect", at_a_time, "tinyproxy") for at_a_time in (1, 64)),
        _http("http-1", "HTTP/1.1, 1 kept connection", _kept(1)),
        _http("http-16", "HTTP/1.1, 16 kept connections", _kept(16)),
        _http("http10-16", "HTTP/1.0, 16 kept connections", _of_http_1_0(16, keep=True), "kept_percent"),
        _http("http-each-16", "a connection for each request, 16 at a time", _of_http_1_0(16, keep=False)),
        _http("http-large-4", "1 MiB with its length, 4 kept connections", _kept(4, "/large"), "gib_per_s"),
        _http("http-chunked-4", "1 MiB in chunks, 4 kept connections", _kept(4, "/chunked"), "gib_per_s"),
        Quantity("ping-pong", f"ping-pong of {_MESSAGE_BYTES} bytes", _ROUND_TRIP, round_trips),
        *(_idle(count) for count in scale.idle_flows),
    ]
