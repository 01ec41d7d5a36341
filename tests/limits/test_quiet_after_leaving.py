"""A peer that leaves, at whatever stage of its flow and in whatever way, leaves the relay nothing to be busy with.

All the flows of one relay are left at once, and then its process hardly runs. Which of them keeps it running is only
looked for if it does. What is measured is CPU time, which a busy host does not take away from.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import pytest

from relay.testing import serve_in_thread
from support.stages import LEAVINGS, STAGES, open_place

_WINDOW_S = 1.0
_QUIET_S = 0.05 * _WINDOW_S
_WINDOWS = 4  # a relay that spins is busy in each; the first ones may still have the ends of many flows in them


_NAMED = 3  # culprits: to find one takes some seconds


class Leaving(NamedTuple):
    """One flow, and who leaves it how."""

    stage: str
    side: str
    how: str


@pytest.fixture(autouse=True)
def _many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def busy_s(leavings: Sequence[Leaving], backend: str) -> float:
    """How long the process runs in a second after these flows were left; those without such a side do not count."""
    with serve_in_thread("transparent", backend=backend) as nat, open_place(nat) as place:
        flows = [(leaving, STAGES[leaving.stage](place)) for leaving in leavings]
        for leaving, parties in flows:
            sock = parties.client if leaving.side == "client" else parties.server
            if sock is not None:
                LEAVINGS[leaving.how](sock)
        for _ in range(_WINDOWS):
            before_s = time.process_time()
            time.sleep(_WINDOW_S)
            spent_s = time.process_time() - before_s
            if spent_s < _QUIET_S:
                break
    return spent_s


def culprits(leavings: Sequence[Leaving], backend: str) -> Iterator[Leaving]:
    if busy_s(leavings, backend) < _QUIET_S:
        return
    if len(leavings) == 1:
        yield leavings[0]
        return
    half = len(leavings) // 2
    yield from culprits(leavings[:half], backend)
    yield from culprits(leavings[half:], backend)


def check_quiet(backend: str) -> None:
    leavings = [Leaving(stage, side, how) for stage in STAGES for side in ("client", "server") for how in LEAVINGS]
    assert not list(islice(culprits(leavings, backend), _NAMED))


def test_a_relay_whose_peers_have_left_is_quiet(backend: str) -> None:
    check_quiet(backend)


@pytest.mark.parametrize("readiness", ["kqueue", "tasks"], indirect=True)
def test_so_it_is_on_hosts_without_epoll(readiness: str) -> None:
    check_quiet("asyncio")
