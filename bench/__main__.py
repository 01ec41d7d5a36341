"""`python -m bench`: the relay, other proxies and a direct connection side by side, in interleaved rounds."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from bench import table
from bench.aims import aims_table
from bench.before import before_table
from bench.ends import Ends, LoadFailed, open_ends
from bench.host import describe_host
from bench.peers import PEERS, Peer
from bench.quantities import FULL, QUICK, Pace, Quantity, quantities, within_descriptors
from bench.relays import relays, with_before
from bench.results import Results
from bench.start import Starts, measure_starts, start_table
from bench.through import NotUp, Running, Through
from bench.web import open_web, web_is_missing

_DESCRIPTORS = 65_536  # a relay needs two for each of 10,000 flows, a splicing one more while data is under way

_Named = TypeVar("_Named", Quantity | Starts, Through)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = _parser()
    options = _parse(parser, arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that runs is ended first
    scale = within_descriptors(QUICK if options.quick else FULL, _raise_descriptor_limit())
    choices: list[Quantity | Starts] = [*quantities(scale), Starts()]
    chosen = _chosen(parser, "--only", options.only, choices)
    wanted = [quantity for quantity in chosen if isinstance(quantity, Quantity)]
    named = _chosen(parser, "--through", options.through, [*PEERS, *relays()])
    host = describe_host(peer.package for peer in PEERS if isinstance(peer, Peer) and peer.package)
    print("\n".join(f"* {name}: {value}" for name, value in host.items()))
    if len(wanted) < len(chosen):
        print()
        starts = measure_starts(1 if options.quick else options.rounds)
        print("\n".join(start_table(starts)))
    if not wanted:
        return
    throughs = _present([*with_before(named, options.before)] if options.before else named)
    if any(quantity.web for quantity in wanted) and (why := web_is_missing()):
        print(f"* missing: {why}")
        wanted = [quantity for quantity in wanted if not quantity.web]
    with tempfile.TemporaryDirectory() as directory, _open_ends(Path(directory), wanted) as ends:
        place = Path(directory)
        results, notes = measure(ends, wanted, throughs, place, options.rounds, Pace(scale))
    for name, note in notes.items():
        print(f"* {name}: {note}")
    print()
    names = [through.name for through in throughs]
    for quantity in wanted:
        print("\n".join(table.quantity_table(quantity, names, results)))
    if any(quantity.name.startswith("idle") for quantity in wanted):
        print("\n".join(table.growth_table(scale.idle_flows, names, results)))
    if options.before:
        print("\n".join(before_table(wanted, names, results)))
    if not options.quick:  # whose figures are none
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
        running_ways = [through for through in throughs if through.name in up]
        for number in range(rounds + 1):
            for quantity, through in itertools.product(wanted, rotated(running_ways, number)):
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


def rotated(ways: Sequence[Through], by: int) -> list[Through]:
    """The ways with another one first: the first is measured right after another quantity, which may cost it 6 %."""
    first = by % len(ways) if ways else 0
    return [*ways[first:], *ways[:first]]


@contextlib.contextmanager
def _open_ends(place: Path, wanted: Sequence[Quantity]) -> Iterator[Ends]:
    """All that the wanted quantities take."""
    with contextlib.ExitStack() as stack:
        ends = stack.enter_context(open_ends(place))
        if any(quantity.web for quantity in wanted):
            ends = replace(ends, web=stack.enter_context(open_web(place)))
        yield ends


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


def _chosen(
    parser: argparse.ArgumentParser, option: str, names: Sequence[str] | None, all_: Sequence[_Named]
) -> list[_Named]:
    """Those that are named, in their own order: in full, or else by a part that several may have."""
    whole = {one.name for one in all_}
    for name in names or ():
        if not any(name in one.name for one in all_):
            # Quoted, for some have commas in them.
            parser.error(f"{option}: nothing is called {name!r}; there are: {', '.join(map(repr, sorted(whole)))}")
    return [
        one
        for one in all_
        if not names or any(one.name == name or (name not in whole and name in one.name) for name in names)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default: 7)")
    parser.add_argument(
        "--only", nargs="+", metavar="QUANTITY", help="quantities of these names, or whose names contain one"
    )
    parser.add_argument("--through", nargs="+", metavar="NAME", help="ways likewise")
    parser.add_argument(
        "--before", metavar="PYTHON", help="measure each relay beside the one that this Python has installed, too"
    )
    parser.add_argument("--json", metavar="FILE", help="write all values there, too")
    parser.add_argument("--quick", action="store_true", help="small measurements, to see that all of it works")
    return parser


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds: {options.rounds} is not enough to measure anything")
    if options.before and not Path(options.before).is_file():
        parser.error(f"--before: there is no Python at {options.before}")
    if options.json and not Path(options.json).parent.is_dir():
        parser.error(f"--json: there is no directory for {options.json}")
    return options


if __name__ == "__main__":
    main()
