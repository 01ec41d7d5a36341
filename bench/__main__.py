"""`python -m bench`: the relay, other proxies and a direct connection side by side, in interleaved rounds."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from bench import table
from bench.aims import aims_table
from bench.ends import Ends, LoadFailed, open_ends
from bench.peers import PEERS
from bench.quantities import FULL, QUICK, Pace, Quantity, quantities, within_descriptors
from bench.relays import relays
from bench.results import Results
from bench.through import NotUp, Running, Through

_DESCRIPTORS = 65_536  # a relay needs two for each of 10,000 flows, a splicing one more while data is under way

_Named = TypeVar("_Named", Quantity, Through)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _parse(arguments)
    scale = within_descriptors(QUICK if options.quick else FULL, _raise_descriptor_limit())
    host = _host()
    print(f"* {', '.join(f'{name} {value}' for name, value in host.items())}")
    wanted = _chosen(options.only, quantities(scale))
    throughs = _present(_chosen(options.through, [*PEERS, *relays()]))
    with tempfile.TemporaryDirectory() as directory, open_ends(Path(directory)) as ends:
        place = Path(directory)
        results, notes = measure(ends, wanted, throughs, place, options.rounds, Pace(scale))
    for name, note in notes.items():
        print(f"* {name}: {note}")
    print()
    names = [through.name for through in throughs]
    for quantity in wanted:
        print("\n".join(table.quantity_table(quantity, names, results)))
    print("\n".join(aims_table(max(scale.idle_flows), results)))
    if options.json:
        whole = {"host": host, "notes": notes, **results.as_json()}
        Path(options.json).write_text(json.dumps(whole, indent=1) + "\n")


def measure(
    ends: Ends, wanted: Sequence[Quantity], throughs: Sequence[Through], place: Path, rounds: int, pace: Pace
) -> tuple[Results, dict[str, str]]:
    """All quantities through all ways, a warm-up and then round by round."""
    results, notes = Results(), {}
    with contextlib.ExitStack() as stack:
        up: dict[str, Running] = {}
        for through in throughs:
            try:
                up[through.name] = stack.enter_context(_started(through, place, ends))
            except NotUp as why:
                print(f"* {through.name}: {why}")
                continue
            notes[through.name] = up[through.name].notes
        pairs = [(quantity, through) for quantity in wanted for through in throughs if through.name in up]
        for number in range(rounds + 1):
            for quantity, through in pairs:
                if not quantity.counts_in(number) or not quantity.asked_of(through.vias, through.only):
                    continue
                if (quantity.name, through.name) in results.failures:
                    continue
                _say(f"round {number} of {rounds}: {quantity.name} through {through.name}")
                lasting = contextlib.nullcontext(up[through.name])
                try:
                    with _started(through, place, ends) if quantity.fresh else lasting as running:
                        figures = quantity.measure(ends, running, pace)
                except (LoadFailed, NotUp) as why:
                    results.failures[quantity.name, through.name] = str(why)
                    _say(f"{quantity.name} through {through.name}: {why}\n")
                    continue
                if number > 0:
                    results.add(number, quantity.name, through.name, figures)
    _say("")
    return results, {name: note for name, note in notes.items() if note}


@contextlib.contextmanager
def _started(through: Through, place: Path, ends: Ends) -> Iterator[Running]:
    with (
        tempfile.TemporaryDirectory(dir=place) as directory,
        through.start(Path(directory), ends.origin_port) as running,
    ):
        yield running


def _present(throughs: Sequence[Through]) -> list[Through]:
    """Those that are here; the others are named."""
    present = []
    for through in throughs:
        if why := through.missing():
            print(f"* missing: {why}")
        else:
            present.append(through)
    return present


def _host() -> dict[str, str]:
    """What figures depend on; ratios less so."""
    congestion_control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return {
        "kernel": platform.release(),
        "cpus": str(os.cpu_count()),
        "python": platform.python_version(),
        "congestion control": congestion_control,
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def _raise_descriptor_limit() -> int:
    """As far as it goes, for all that is started from here on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < _DESCRIPTORS:
        with contextlib.suppress(ValueError, OSError):  # it takes CAP_SYS_RESOURCE, which root in a container may lack
            resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
            return _DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _say(text: str) -> None:
    """Where we are, on a terminal's own line."""
    if sys.stderr.isatty() or text.endswith("\n"):
        print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, end="", file=sys.stderr, flush=True)


def _chosen(names: Sequence[str] | None, all_: Sequence[_Named]) -> list[_Named]:
    return [one for one in all_ if not names or any(name in one.name for name in names)]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default: 7)")
    parser.add_argument("--only", nargs="+", metavar="QUANTITY", help="quantities whose names contain one of these")
    parser.add_argument("--through", nargs="+", metavar="NAME", help="ways whose names contain one of these")
    parser.add_argument("--json", metavar="FILE", help="write all values there, too")
    parser.add_argument("--quick", action="store_true", help="small measurements, to see that all of it works")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
