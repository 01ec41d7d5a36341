"""`python -m bench.wire`: wire mode beside other user-space NATs, for a command in a network of its own.

    veth           a pair of kernel devices, and nothing between: what there is to reach
    slirp4netns    libslirp's TCP behind a TAP device
    pasta          passt's, without its short cut for loopback
    relay          `relay run`, with offload and without

All have an MTU of 1500: VMware's window of 64,240 bytes would starve larger segments. The server is on this host's
loopback. Bulk is one iperf3 stream, connects are 64 at a time with a byte each way, and idle flows are open and carry
nothing (load.c). Rounds are interleaved, and a ratio is the median of the rounds' own. It takes root, and makes a
network of its own, which nothing leaves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import process
from bench.aims import Aim
from bench.ends import Ends, open_ends
from bench.host import describe_host
from bench.results import Results
from bench.table import number, rows
from bench.wire_step import step_us
from bench.wire_ways import WAYS, Way, running

_INSIDE = "BENCH_WIRE_INSIDE"
_OUTSIDE = """
set -e
ip link set lo up
ip link add nowhere type veth peer name else
ip address add 198.51.100.2/24 dev nowhere
ip link set nowhere up
ip link set else up
ip route add default via 198.51.100.1
exec "$@"
"""
"""Makes the network that stands for this host."""
_BESIDE = ("slirp4netns", "veth")
_FIGURES = {"up": "bulk to the host, MB/s", "down": "bulk from the host, MB/s", "connects": "connections/s"}
_IDLE_FIGURES = {"idle_mib": "memory, MiB", "idle_percent": "CPU, % of a core"}
_PROFILES = ("vmware-fusion", "transparent")
_AIMS = {
    "offload auto": (
        Aim("wire", "up", "bulk to the host", 2.5, "slirp4netns"),
        Aim("wire", "down", "bulk from the host", 1.2, "slirp4netns"),
        Aim("wire", "connects", "connections/s", 0.4, "slirp4netns"),
        Aim("wire", "idle_mib", "memory of 1000 idle flows", 9.5, at_most=True, unit="MiB"),
        Aim("wire", "idle_percent", "CPU of 1000 idle flows", 5, at_most=True, unit="% of a core"),
    ),
    "offload off": (
        Aim("wire", "up", "bulk to the host", 30, unit="MB/s"),
        Aim("wire", "down", "bulk from the host", 30, unit="MB/s"),
    ),
}
"""What `relay run` is to reach, by what its ways' names have."""


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connects", type=int, default=3000, help="how many a round")
    parser.add_argument("--seconds", type=int, default=2, help="how long each stream of bulk lasts")
    parser.add_argument("--idle", type=int, default=1000, help="how many idle flows, in three rounds at most")
    parser.add_argument("--watch", type=float, default=4, help="for how many seconds those are watched")
    parser.add_argument("--only", nargs="*", default=[], help="ways of these names, or whose names contain one")
    options = parser.parse_args()
    if os.environ.get(_INSIDE) is None:  # a network of our own, with a route that leads nowhere, for pasta
        command = ["unshare", "--net", "sh", "-c", _OUTSIDE, "sh", sys.executable, "-m", "bench.wire", *sys.argv[1:]]
        os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})  # noqa: S606
    ways = [way for way in WAYS if not options.only or any(word in way.name for word in options.only)]
    present = [way for way in ways if all(map(shutil.which, way.programs))]
    for name, text in describe_host(["iperf3", "slirp4netns", "passt"], "bench.wire").items():
        print(f"* {name}: {text}")
    for way in ways:
        if way not in present:
            print(f"* missing: {way.name}: it takes {', '.join(way.programs)}")
    os.environ["ORIGIN_HOST"] = "0.0.0.0"
    with tempfile.TemporaryDirectory() as place, open_ends(Path(place)) as ends, _iperf_server() as port:
        results = _measure(present, ends, port, options)
    print("\n".join(_report([way.name for way in present], results)))


def _measure(ways: Sequence[Way], ends: Ends, port: int, options: argparse.Namespace) -> Results:
    results, seconds = Results(), str(options.seconds)
    for turn in range(options.rounds + 1):  # the first is a warm-up
        for way in ways:
            with ExitStack() as stack:
                prefix = way.wrap(stack)
                figures = {
                    "up": _bulk(prefix, way.host, port, "-t", seconds),
                    "down": _bulk(prefix, way.host, port, "-t", seconds, "-R"),
                    "connects": _connects(prefix, way.host, ends, options.connects),
                }
                if way.is_ours and turn in {1, 2, 3}:
                    figures |= _idle(prefix, way.host, ends, options)
            if turn:
                results.add(turn, "wire", way.name, figures)
        if turn:
            for profile in _PROFILES:
                results.add(turn, "step", profile, {"us": step_us(profile)})
    return results


def _bulk(prefix: Sequence[str], host: str, port: int, *options: str) -> float:
    said = json.loads(_output([*prefix, "iperf3", "-c", host, "-p", str(port), "-J", *options]))
    return float(said["end"]["sum_received"]["bits_per_second"]) / 8e6


def _connects(prefix: Sequence[str], host: str, ends: Ends, count: int) -> float:
    return float(json.loads(_output(_load(prefix, host, ends, "connects", count)))["per_s"])


def _load(prefix: Sequence[str], host: str, ends: Ends, *quantity: object) -> list[str]:
    name, *numbers = map(str, quantity)
    port = str(ends.origin_port)
    return [*prefix, "env", f"LOAD_HOST={host}", str(ends.load), "forward", port, port, name, "64", *numbers]


def _idle(prefix: Sequence[str], host: str, ends: Ends, options: argparse.Namespace) -> dict[str, float]:
    """What idle flows cost the relay, beyond what it takes before the first."""
    command = _load([*prefix, "sh", "-c", 'echo ready; read go; exec "$@"', "sh"], host, ends, "idle", options.idle)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as relay:
        assert relay.stdin is not None
        assert relay.stdout is not None
        assert relay.stdout.readline() == "ready\n"
        empty_kib = process.own_resident_kib(relay.pid)
        relay.stdin.write("go\n")
        relay.stdin.flush()
        assert json.loads(relay.stdout.readline())["open"] == options.idle
        grown_kib = process.own_resident_kib(relay.pid) - empty_kib
        time.sleep(options.watch * 1.5)  # what was busy is looked at more often
        before_s, began_s = process.own_cpu_s(relay.pid), time.monotonic()
        time.sleep(options.watch)
        share = (process.own_cpu_s(relay.pid) - before_s) / (time.monotonic() - began_s)
        said, _ = relay.communicate(timeout=60)
        assert json.loads(said)["closed"] == options.idle
    return {"idle_mib": grown_kib / 1024, "idle_percent": 100 * share}


def _output(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: {done.stdout} {done.stderr}")
    return done.stdout[done.stdout.index("{") :]


@contextlib.contextmanager
def _iperf_server() -> Iterator[int]:
    port = 5201
    with running("iperf3", "-s", "-p", str(port)):
        time.sleep(0.3)
        yield port


def _report(names: Sequence[str], results: Results) -> Iterator[str]:
    yield from ("", "### Aims", "", *rows(_aims(names, results)))
    yield from ("", "### Bulk and connects", "", *rows(_table(names, _FIGURES, _BESIDE, results)))
    ours = [name for name in names if results.of("wire", "idle_mib", name)]
    yield from ("", "### Idle flows", "", *rows(_table(ours, _IDLE_FIGURES, (), results)))
    yield from ("", "### A segment of 1460 bytes in, its ACK out", "")
    yield from rows([("profile", "us"), *((name, _spread("step", "us", name, results)) for name in _PROFILES)])


def _aims(names: Sequence[str], results: Results) -> Iterator[Sequence[str]]:
    yield ("through", "quantity", "aim", "reached", "met")
    for words, aims in _AIMS.items():
        for name in names:
            for aim in aims if words in name else ():
                reached = aim.reached(results, name)
                verdict = "-" if reached is None else "yes" if aim.met_by(reached) else "no"
                yield (name, aim.title, aim.text, number(reached), verdict)


def _table(
    names: Sequence[str], figures: dict[str, str], beside: Sequence[str], results: Results
) -> Iterator[Sequence[str]]:
    yield ("through", *(cell for title in figures.values() for cell in (title, *(f"x {name}" for name in beside))))
    for name in names:
        row = [name]
        for figure in figures:
            row.append(_spread("wire", figure, name, results))
            ratios = (results.ratio("wire", figure, name, other) for other in beside)
            row += ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        yield row


def _spread(quantity: str, figure: str, name: str, results: Results) -> str:
    values = results.of(quantity, figure, name)
    return f"{number(results.median(quantity, figure, name))} ({number(min(values))} to {number(max(values))})"


if __name__ == "__main__":
    main()
