"""`python -m bench.wire`: wire mode beside other user-space NATs, for a command in a network of its own.

    veth           a pair of kernel devices, and nothing between: what there is to reach
    slirp4netns    libslirp's TCP behind a TAP device
    pasta          passt's, without its short cut for loopback
    relay          `relay run`, with offload and without

All have an MTU of 1500: VMware's window of 64,240 bytes would starve larger segments. The server is on this host's
loopback. Bulk is one iperf3 stream, connects are 64 at a time with a byte each way (load.c). Rounds are interleaved,
and a ratio is the median of the rounds' own. It takes root, and makes a network of its own, which nothing leaves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.ends import Ends, open_ends
from bench.results import Results
from bench.table import rows

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
_BESIDE = "slirp4netns"
_FIGURES = {"up": "bulk to the host, MB/s", "down": "bulk from the host, MB/s", "connects": "connections/s"}
_AIMS = {"up": 2.5, "down": 1.2, "connects": 0.4}
"""What `relay run` is to reach, as a part of slirp4netns' figure."""


@dataclass(frozen=True)
class Way:
    """One way from a network of its own to this host."""

    name: str
    programs: Sequence[str]
    host: str
    """The address that leads to the server."""
    wrap: Callable[[ExitStack], list[str]]
    """Makes the network, for as long as the stack lasts, and returns what a command is run by in it."""


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connects", type=int, default=3000, help="how many a round")
    parser.add_argument("--seconds", type=int, default=2, help="how long each stream of bulk lasts")
    parser.add_argument("--only", nargs="*", default=[], help="ways of these names, or whose names contain one")
    options = parser.parse_args()
    if os.environ.get(_INSIDE) is None:  # a network of our own, with a route that leads nowhere, for pasta
        command = ["unshare", "--net", "sh", "-c", _OUTSIDE, "sh", sys.executable, "-m", "bench.wire", *sys.argv[1:]]
        os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})  # noqa: S606
    ways = [way for way in _WAYS if not options.only or any(word in way.name for word in options.only)]
    present = [way for way in ways if all(map(shutil.which, way.programs))]
    for way in ways:
        if way not in present:
            print(f"* missing: {way.name}: it takes {', '.join(way.programs)}")
    os.environ["ORIGIN_HOST"] = "0.0.0.0"
    with tempfile.TemporaryDirectory() as place, open_ends(Path(place)) as ends, _iperf_server() as port:
        results = _measure(present, ends, port, options)
    print("\n".join(_tables([way.name for way in present], results)))


def _measure(ways: Sequence[Way], ends: Ends, port: int, options: argparse.Namespace) -> Results:
    results, seconds = Results(), str(options.seconds)
    for number in range(options.rounds + 1):  # the first is a warm-up
        for way in ways:
            with ExitStack() as stack:
                prefix = way.wrap(stack)
                figures = {
                    "up": _bulk(prefix, way.host, port, "-t", seconds),
                    "down": _bulk(prefix, way.host, port, "-t", seconds, "-R"),
                    "connects": _connects(prefix, way.host, ends, options.connects),
                }
            if number:
                results.add(number, "wire", way.name, figures)
    return results


def _bulk(prefix: Sequence[str], host: str, port: int, *options: str) -> float:
    said = json.loads(_output([*prefix, "iperf3", "-c", host, "-p", str(port), "-J", *options]))
    return float(said["end"]["sum_received"]["bits_per_second"]) / 8e6


def _connects(prefix: Sequence[str], host: str, ends: Ends, count: int) -> float:
    words = [str(ends.load), "forward", str(ends.origin_port), str(ends.origin_port), "connects", "64", str(count)]
    return float(json.loads(_output([*prefix, "env", f"LOAD_HOST={host}", *words]))["per_s"])


def _output(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: {done.stdout} {done.stderr}")
    return done.stdout[done.stdout.index("{") :]


@contextlib.contextmanager
def _iperf_server() -> Iterator[int]:
    port = 5201
    with _running("iperf3", "-s", "-p", str(port)):
        time.sleep(0.3)
        yield port


@contextlib.contextmanager
def _running(*words: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def _own_network() -> Iterator[int]:
    """A network that is empty; the number of a process in it."""
    with _running("unshare", "--net", "sleep", "300") as process:
        time.sleep(0.2)
        yield process.pid


def _inside(pid: int) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net"]


def _by_veth(stack: ExitStack) -> list[str]:
    pid = stack.enter_context(_own_network())
    subprocess.run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(pid)], check=True)
    stack.callback(subprocess.run, ["ip", "link", "del", "near"], check=False)
    subprocess.run(["ip", "address", "add", "10.9.0.1/24", "dev", "near"], check=True)
    subprocess.run(["ip", "link", "set", "near", "up"], check=True)
    inside = _inside(pid)
    subprocess.run([*inside, "ip", "address", "add", "10.9.0.2/24", "dev", "far"], check=True)
    subprocess.run([*inside, "ip", "link", "set", "far", "up"], check=True)
    return inside


def _by_slirp(stack: ExitStack) -> list[str]:
    pid = stack.enter_context(_own_network())
    stack.enter_context(_running("slirp4netns", "--configure", "--mtu=1500", str(pid), "tap0"))
    time.sleep(0.5)
    return _inside(pid)


def _by_pasta(stack: ExitStack) -> list[str]:
    shut = [word for ports in ("-t", "-u", "-T", "-U") for word in (ports, "none")]
    return ["pasta", "--config-net", "--runas", "0", "--mtu", "1500", *shut, "--"]


def _by_relay(*options: str) -> Callable[[ExitStack], list[str]]:
    return lambda stack: [sys.executable, "-P", "-m", "relay", "run", *options, "--"]


_WAYS = (
    Way("veth", ("iperf3",), "10.9.0.1", _by_veth),
    Way("slirp4netns", ("slirp4netns", "iperf3"), "10.0.2.2", _by_slirp),
    Way("pasta", ("pasta", "iperf3"), "198.51.100.1", _by_pasta),
    *(
        Way(f"relay, {profile}, {backend}, offload {offload}", ("iperf3",), "192.168.127.1", _by_relay(*words))
        for profile, backend, offload in (
            ("vmware-fusion", "asyncio", "auto"),
            ("vmware-fusion", "trio", "auto"),
            ("transparent", "asyncio", "auto"),
            ("vmware-fusion", "asyncio", "off"),
        )
        if (words := ("--profile", profile, "--backend", backend, "--offload", offload))
    ),
)


def _tables(names: Sequence[str], results: Results) -> Iterator[str]:
    head = ["through"]
    for figure, title in _FIGURES.items():
        head += [title, f"x {_BESIDE} (aim {_AIMS[figure]})"]
    body = []
    for name in names:
        row = [name]
        for figure in _FIGURES:
            values = results.of("wire", figure, name)
            median = results.median("wire", figure, name)
            ratio = results.ratio("wire", figure, name, _BESIDE)
            row.append(f"{median:.0f} ({min(values):.0f} to {max(values):.0f})")
            row.append("-" if ratio is None else f"{ratio:.2f}")
        body.append(row)
    yield from rows([head, *body])


if __name__ == "__main__":
    main()
