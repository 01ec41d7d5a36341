"""`python -m bench.shapes`: faults of one direction, as exact as they are asked for, beside tc's.

    latency       a byte there and back, 100 ms later one way, on one flow and on 500
    bandwidth     how fast bytes come for five seconds, from 10 KB/s to 100 MB/s
    throughput    bulk through an outbox whose shape does not hold it up
    changes       1,000 faults that come and go under load
    intact        every byte of every shape, by SHA-256 (`bench.intact`)

It takes root, and makes a network of its own, which nothing leaves. Rounds are interleaved; figures are medians of the
rounds, with the smallest and the largest beside them. Where the kernel has no netem, `--guest` runs all of this in one
that has it (`bench.guest`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.ends import Ends, LoadFailed, open_ends
from bench.fault_changes import measure_changes
from bench.guest import INSIDE, NoGuest, run_in_guest
from bench.host import describe_host
from bench.intact import Control, check_all
from bench.results import Results
from bench.shape_ways import Line, ShapeWay, served, ways
from bench.table import number, rows

_INSIDE = "BENCH_SHAPES_INSIDE"
_PARTS = ("latency", "bandwidth", "throughput", "changes", "intact")
_DELAY_S = 0.1
_FLOWS = (1, 500)
_LATENCY_AIMS_MS = {1: 3, 500: 10}
_RATES = (10e3, 100e3, 1e6, 10e6, 100e6)
_RATE_AIM_PERCENT = 2
_SLOW_BYTES_PER_S = 1e6
_THROUGHPUT_AIM = 300
_CHANGES_AIM_MS = 50
_SHAPES = {
    "bandwidth, 10 GB/s": ["bandwidth.rate_bytes_per_s=10e9"],
    "latency, 1 ms": ["latency.delay_s=0.001"],
    "slices of 64 KiB": ["slicer.slice_bytes=65536", "slicer.pause_s=0"],
}
"""What does not hold bulk up; each has an outbox."""


def main() -> None:
    """Measure and print Markdown."""
    options = _options()
    if options.guest and INSIDE not in os.environ:
        try:
            sys.exit(run_in_guest([sys.executable, "-m", "bench.shapes", *sys.argv[1:]]))
        except NoGuest as error:
            print(f"python -m bench.shapes: {error}", file=sys.stderr)
            sys.exit(3)
        except KeyboardInterrupt:
            sys.exit(130)
    if os.environ.get(_INSIDE) is None:
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
        command += [sys.executable, "-m", "bench.shapes", *sys.argv[1:]]
        os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})  # noqa: S606
    for name, text in describe_host(["iproute2"], "bench.shapes").items():
        print(f"* {name}: {text}")
    present = []
    for way in ways(options.backends):
        if why := way.missing():
            print(f"* missing: {why}")
        else:
            present.append(way)
    os.environ["ORIGIN_HOST"] = "0.0.0.0"
    with tempfile.TemporaryDirectory() as directory, open_ends(Path(directory)) as ends:
        arrivals = Path(directory) / "arrivals"
        source = Path(__file__).parent / "arrivals.c"
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(arrivals), str(source)], check=True)
        results = _measure(present, ends, arrivals, options)
        print("\n".join(_report([way.name for way in present], results, options)))
        if "intact" in options.only:
            print("\n".join(_intact(ends, options)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.shapes", description=__doc__.partition("\n")[0])
    parser.add_argument("--guest", action="store_true", help="in user-mode Linux, whose kernel has netem")
    parser.add_argument("--only", choices=_PARTS, nargs="+", default=_PARTS, metavar="PART", help=" ".join(_PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["asyncio", "trio"], help="the relay's (both)")
    parser.add_argument("--seconds", type=float, default=5, help="how long each rate is watched (5)")
    parser.add_argument("--flows", type=int, nargs="+", default=_FLOWS, help="how many carry a byte at a time (1 500)")
    parser.add_argument("--exchanges", type=int, default=100, help="a round, on each of these flows, at most (100)")
    parser.add_argument("--pause", type=float, default=0, help="ms between a byte's return and the flow's next one (0)")
    parser.add_argument("--rates", type=float, nargs="+", default=_RATES, help="bytes/s (1e4 1e5 1e6 1e7 1e8)")
    parser.add_argument("--changes", type=int, default=1000, help="faults that come and go (1000)")
    parser.add_argument("--bulk", type=int, default=512, help="MiB of bulk a round (512)")
    parser.add_argument("--bytes", type=int, default=1 << 20, help="of each connection whose bytes are compared")
    return parser.parse_args()


def _measure(present: Sequence[ShapeWay], ends: Ends, arrivals: Path, options: argparse.Namespace) -> Results:
    """Everything, round by round; after Ctrl-C, what there is by then."""
    ours = [(f"relay, {backend}", backend) for backend in options.backends]
    steps: list[tuple[str, str, Callable[[], dict[str, float]]]] = [
        *(("latency", way.name, partial(_latency, way, ends, arrivals, options)) for way in present),
        *(("bandwidth", way.name, partial(_bandwidth, way, ends, arrivals, options)) for way in present),
        *(("throughput", name, partial(_bulk, backend, ends, options)) for name, backend in ours),
        *(("changes", name, partial(_changes, backend, ends, options)) for name, backend in ours),
    ]
    results = Results()
    with contextlib.suppress(KeyboardInterrupt):
        for turn in range(1, options.rounds + 1):
            for part, name, measure in steps:
                if part not in options.only:
                    continue
                print(f"{time.strftime('%T')} round {turn}: {part}, {name}", file=sys.stderr)
                try:
                    results.add(turn, "shapes", name, measure())
                except LoadFailed as why:
                    print(f"* {name}: {why}", file=sys.stderr)
                    results.failures[part, name] = str(why)
    return results


def _latency(way: ShapeWay, ends: Ends, arrivals: Path, options: argparse.Namespace) -> dict[str, float]:
    """How much later than the delay a byte is back."""
    line = Line(delay_s=_DELAY_S)
    if not way.does(line):
        return {}
    figures = {}
    delay_ms = _DELAY_S * 1e3
    turn_ms = delay_ms + options.pause
    with way.open(ends, line) as reach:
        for flows in options.flows:
            command = [
                arrivals,
                reach.host,
                reach.port,
                "echo",
                flows,
                options.exchanges * turn_ms,
                turn_ms,
                options.pause,
            ]
            told = _run([*reach.prefix, *map(str, command)])
            for figure in ("p50", "p99", "max"):
                figures[f"{figure} of {flows}"] = told[f"{figure}_ms"] - delay_ms
    return figures


def _bandwidth(way: ShapeWay, ends: Ends, arrivals: Path, options: argparse.Namespace) -> dict[str, float]:
    """How far from each rate bytes come, in percent; where lines can be beside each other, slow ones are."""

    def off_by(rate: float) -> float:
        with way.open(ends, Line(rate_bytes_per_s=rate)) as reach:
            command = [str(arrivals), reach.host, str(reach.port), "rate", str(options.seconds * 1e3)]
            return 100 * (_run([*reach.prefix, *command])["bytes_per_s"] / rate - 1)

    figures = {}
    slow = [rate for rate in options.rates if rate <= _SLOW_BYTES_PER_S]
    for rates in (slow, *([rate] for rate in options.rates if rate not in slow)):
        with ThreadPoolExecutor(max(1, len(rates)) if way.many_at_once else 1) as threads:
            for rate, off in zip(rates, threads.map(off_by, rates), strict=True):
                figures[f"rate {rate:g}"] = off
    return figures


def _bulk(backend: str, ends: Ends, options: argparse.Namespace) -> dict[str, float]:
    """MB/s up and down, through each shape."""
    figures = {}
    for name, settings in {"none": [], **_SHAPES}.items():
        with served(backend, ends, settings) as (_, port):
            for direction in ("up", "down"):
                told = ends.measure("forward", port, f"bulk-{direction}", 1, options.bulk << 20)
                figures[f"{direction} {name}"] = told["gib_per_s"] * 1.073741824e3
    return figures


def _changes(backend: str, ends: Ends, options: argparse.Namespace) -> dict[str, float]:
    with served(backend, ends, (), "--control", "127.0.0.1:0") as (control, port):
        found = measure_changes(ends, Control(control), port, options.changes)
    return {f"change {figure}": value for figure, value in found.items()}


def _run(command: Sequence[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadFailed(done.stderr.strip() or f"arrivals was not over in time (exit code {done.returncode})")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _intact(ends: Ends, options: argparse.Namespace) -> Iterator[str]:
    yield from ("", "### Bytes, by SHA-256", "")
    table: list[Sequence[str]] = [("through", "shapes x ends", "not as sent")]
    for backend in options.backends:
        with served(backend, ends, (), "--control", "127.0.0.1:0") as (control, _):
            found = list(check_all(Control(control), options.bytes))
        wrong = [f"{shape}, {end}: {why}" for shape, end, why in found if why]
        table.append((f"relay, {backend}", str(len(found)), "; ".join(wrong) or "none"))
    yield from rows(table)


def _report(names: Sequence[str], results: Results, options: argparse.Namespace) -> Iterator[str]:
    ours = [name for name in names if name.startswith("relay")]
    for part, title, columns, titles in _tables(options):
        if part in options.only:
            shown = names if part in {"latency", "bandwidth"} else ours
            yield from ("", f"### {title}", "", *rows([("through", *titles), *_cells(part, shown, columns, results)]))
    if aims := list(_aims(ours, results, options)):
        yield from ("", "### Aims", "", *rows([("quantity", "aim", *ours, "met"), *aims]))


def _tables(options: argparse.Namespace) -> Iterator[tuple[str, str, Sequence[str], Sequence[str]]]:
    """The part of each table, its title, its figures and what they are called."""
    pairs = [(flows, figure) for flows in options.flows for figure in ("p50", "p99", "max")]
    title = f"A byte there and back, {_DELAY_S * 1e3:g} ms later one way: how much later still, in ms"
    columns = [f"{figure} of {flows}" for flows, figure in pairs]
    yield "latency", title, columns, [f"{flows} flows: {figure}" for flows, figure in pairs]
    title = f"Bytes that come in {options.seconds:g} s, beside the rate that was asked for, in %"
    yield "bandwidth", title, [f"rate {rate:g}" for rate in options.rates], [*map(_rate, options.rates)]
    columns = [f"{direction} {name}" for name in ("none", *_SHAPES) for direction in ("up", "down")]
    titles = [f"{name}, {direction}" for name in ("no fault", *_SHAPES) for direction in ("up", "down")]
    yield "throughput", "Bulk on one flow through an outbox, MB/s", columns, titles
    columns = [f"change {figure}" for figure in ("p50_ms", "p99_ms", "max_ms", "carried_mib")]
    title = f"{options.changes} faults that come and go under load"
    yield "changes", title, columns, ["p50 ms", "p99 ms", "longest ms", "MiB carried"]


def _cells(part: str, names: Sequence[str], columns: Sequence[str], results: Results) -> Iterator[Sequence[str]]:
    for name in names:
        row = [_spread(results.of("shapes", column, name)) for column in columns]
        if any(cell != "-" for cell in row):
            yield (name, *row)
        elif (part, name) in results.failures:
            yield (name, f"failed: {results.failures[part, name]}", *["-"] * (len(columns) - 1))


def _aims(names: Sequence[str], results: Results, options: argparse.Namespace) -> Iterator[Sequence[str]]:
    if "latency" in options.only:
        for flows in options.flows:
            most_ms = _LATENCY_AIMS_MS.get(flows, 10)
            title, aim = f"latency, {flows} flows: p99", f"<= {most_ms} ms more"
            yield _aim(title, aim, f"p99 of {flows}", most_ms, names, results)
    if "bandwidth" in options.only:
        for rate in options.rates:
            title, aim = f"bandwidth, {_rate(rate)}", f"within {_RATE_AIM_PERCENT} %"
            yield _aim(title, aim, f"rate {rate:g}", _RATE_AIM_PERCENT, names, results)
    if "throughput" in options.only:
        for name in _SHAPES:
            title, aim = f"bulk up, {name}", f">= {_THROUGHPUT_AIM} MB/s"
            yield _aim(title, aim, f"up {name}", _THROUGHPUT_AIM, names, results, at_least=True)
    if "changes" in options.only:
        title, aim = f"{options.changes} changes: p99", f"<= {_CHANGES_AIM_MS} ms"
        yield _aim(title, aim, "change p99_ms", _CHANGES_AIM_MS, names, results)


def _aim(
    title: str, aim: str, figure: str, bound: float, names: Sequence[str], results: Results, *, at_least: bool = False
) -> Sequence[str]:
    reached = [results.median("shapes", figure, name) for name in names]
    met = all(value is not None and (value >= bound if at_least else abs(value) <= bound) for value in reached)
    return (title, aim, *map(number, reached), "yes" if met else "no")


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    median = sorted(values)[len(values) // 2]
    return f"{number(median)} ({number(min(values))} to {number(max(values))})" if len(values) > 1 else number(median)


def _rate(rate: float) -> str:
    return f"{rate / 1e6:g} MB/s" if rate >= 1e6 else f"{rate / 1e3:g} KB/s"


if __name__ == "__main__":
    main()
