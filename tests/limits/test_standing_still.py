"""A relay that was stopped for a while, as by a debugger, a paused container, or a laptop that slept."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.masses import descriptor_count, mass_clients, mass_origin, wait_until
from support.measuring import with_limit, within
from support.programs import serve
from support.workers import pids_of

_CALLERS = 600  # more than one delivery holds
_IN_BACKLOG = 200
_REQUEST_LIMIT_S = 1.5
_IDLE_LIMIT_S = 3.0


@contextlib.contextmanager
def standing_still(pids: Sequence[int], until_s: float) -> Iterator[None]:
    """Stop the processes, do what is in the block, and have them go on at `until_s` of the monotonic clock."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(max(0.0, until_s - time.monotonic()))  # a limit's time is to pass meanwhile
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_that_came_meanwhile_are_answered(workers: int, backend: str, tmp_path: Path) -> None:
    callers = _CALLERS * workers

    def play(limit_s: float) -> None:
        options = ("--handshake-timeout", f"{limit_s}", "--workers", f"{workers}")
        with (
            mass_origin() as (_, port),
            serve(new_folder(tmp_path, limit_s), "--backend", backend, *options) as served,
            mass_clients(served.port, port) as clients,
        ):
            pids = list(pids_of(served).values()) if workers > 1 else [served.process.pid]
            open_before = sum(map(descriptor_count, pids))
            began_s = time.monotonic()
            with within(limit_s / 2):
                assert clients.do(f"call {callers}") == {"called": callers}
                wait_until(
                    lambda: sum(map(descriptor_count, pids)) >= open_before + callers,
                    lambda: "not all callers were accepted",
                    timeout_s=limit_s,
                )
            with standing_still(pids, until_s=began_s + limit_s + 0.2):
                assert clients.do(f"call {_IN_BACKLOG}") == {"called": _IN_BACKLOG}
                assert clients.do("ask") == {"asked": callers + _IN_BACKLOG}
            assert clients.do("replies") == {"granted": callers + _IN_BACKLOG}
            assert served.count("handshake-failed") == 0

    with_limit(play, _REQUEST_LIMIT_S)


def new_folder(directory: Path, limit_s: float) -> Path:
    """For the files of a relay with this limit."""
    folder = directory / f"{limit_s:g} s"
    folder.mkdir()
    return folder


def test_the_time_meanwhile_makes_no_flow_idle(backend: str, tmp_path: Path) -> None:
    """Whether its bytes wait already when the relay goes on, or come just then because its client stood still, too."""

    def play(limit_s: float) -> None:
        with (
            mass_origin() as (_, port),
            serve(new_folder(tmp_path, limit_s), "--backend", backend, "--idle-timeout", f"{limit_s}") as served,
            mass_clients(served.port, port) as clients,
        ):
            with within(0.7 * limit_s):
                assert clients.do(f"open {_CALLERS}") == {"granted": _CALLERS}
            for client_goes_on in (True, False):
                with within(0.7 * limit_s):
                    assert clients.do("ping") == {"echoed": _CALLERS}
                    time.sleep(limit_s / 4)
                with standing_still([served.process.pid], until_s=time.monotonic() + 1.25 * limit_s):
                    if client_goes_on:
                        clients.tell("ping")
                with within(0.7 * limit_s):
                    if not client_goes_on:
                        clients.tell("ping")
                    assert clients.hear() == {"echoed": _CALLERS}
            with within(0.7 * limit_s):
                assert clients.do("end") == {"whole": _CALLERS}
            assert served.count("flow-ended", because="idle-timeout") == 0

    with_limit(play, _IDLE_LIMIT_S)
