"""How long a command takes to start, beside the least that any program with typer takes: `python -c 'import typer'`.

Rounds are interleaved like the other quantities': each runs every command once, and a ratio is the median of the
rounds' own. What is measured is what a user waits for: the command's end, or the moment at which `relay serve` listens,
which its port file tells.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.results import Results
from bench.table import number, rows
from bench.through import START_S, NotUp, spawned

NAME = "start"
LEAST_ROUNDS = 10
_BARE = "python -c 'import typer'"
_LOOK_EVERY_S = 0.001


@dataclass(frozen=True)
class Start:
    """One command, and what it may take at most, in times of `import typer`."""

    title: str
    measure: Callable[[], float]
    """Takes it once; seconds."""
    aim: float | None = None


@dataclass(frozen=True)
class Starts:
    """All of them; a choice of `--only` like any quantity."""

    name: str = NAME


def _until_it_ends(*arguments: str) -> Callable[[], float]:
    def measure() -> float:
        began_s = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=_environment())
        return time.perf_counter() - began_s

    return measure


def _until_it_listens(*arguments: str) -> Callable[[], float]:
    def measure() -> float:
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            ports = place / "ports"
            command = [sys.executable, "-P", "-m", "relay", "serve", "--quiet", "--listen", "127.0.0.1:0"]
            began_s = time.perf_counter()
            with spawned([*command, "--port-file", str(ports), *arguments], place, _environment()) as process:
                while not ports.exists():
                    if process.poll() is not None or time.perf_counter() - began_s > START_S:
                        raise NotUp(f"relay serve did not start: {Path(place, 'output').read_text()[-300:]}")
                    time.sleep(_LOOK_EVERY_S)
                return time.perf_counter() - began_s

    return measure


STARTS = (
    Start(_BARE, _until_it_ends("-c", "import typer")),
    Start("relay --version", _until_it_ends("-P", "-m", "relay", "--version"), aim=2.5),
    Start("relay --help", _until_it_ends("-P", "-m", "relay", "--help"), aim=2.5),
    Start("relay serve --help", _until_it_ends("-P", "-m", "relay", "serve", "--help"), aim=2.5),
    Start("relay serve, until it listens", _until_it_listens(), aim=5),
    Start("relay serve --backend trio, until it listens", _until_it_listens("--backend", "trio"), aim=6),
)


def measure_starts(rounds: int, starts: Sequence[Start] = STARTS) -> Results:
    """Each command once a round; a first round, which does not count, warms the disk's cache."""
    results = Results()
    for round_ in range(max(rounds, LEAST_ROUNDS) + 1):
        for start in starts:
            taken_s = start.measure()
            if round_ > 0:
                results.add(round_, NAME, start.title, {"ms": taken_s * 1000})
    return results


def start_table(results: Results, starts: Sequence[Start] = STARTS) -> Iterator[str]:
    """Medians, ratios, and whether each is within its aim."""
    yield "### Start of a command"
    yield ""
    table: list[Sequence[str]] = [("command", "ms", f"x {_BARE}", "aim", "met")]
    for start in starts:
        values = results.of(NAME, "ms", start.title)
        ratio = results.ratio(NAME, "ms", start.title, starts[0].title)
        met = "-" if start.aim is None or ratio is None else "yes" if ratio <= start.aim else "no"
        table.append(
            (
                start.title,
                f"{number(results.median(NAME, 'ms', start.title))} ({number(min(values))} to {number(max(values))})",
                "-" if ratio is None else f"{ratio:.2f}",
                "-" if start.aim is None else f"<= {start.aim:g} x",
                met,
            )
        )
    yield from rows(table)
    yield ""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
