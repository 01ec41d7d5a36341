"""Faults that come and go under load: how long each change takes, and whether anything hangs or is lost.

A load goes through the relay without a pause; each of its runs checks that every byte arrives. Meanwhile a fault is set
and lifted over and over, as the clients of toxiproxy do it, each time on a connection of its own to the control.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping

from bench.ends import Ends, LoadFailed
from bench.intact import Control

_FAULTS: tuple[Mapping[str, object], ...] = (
    {"type": "latency", "attributes": {"latency": 5, "jitter": 5}},
    {"type": "bandwidth", "attributes": {"rate": 500_000}},
    {"type": "slicer", "attributes": {"average_size": 10_000}},
)
_LOAD_BYTES = 256 << 20
_FLOWS = 4


def measure_changes(ends: Ends, control: Control, port: int, count: int) -> dict[str, float]:
    """Set and lift `count` faults while a load goes through the forward at `port`: p50, p99 and the longest, in ms.

    Raises:
        LoadFailed: a connection has ended early, or some bytes have not arrived.
    """
    over, wrong, rounds = threading.Event(), [], 0

    def load() -> None:
        nonlocal rounds
        while not over.is_set():
            try:
                ends.measure("forward", port, "bulk-down", _FLOWS, _LOAD_BYTES)
                rounds += 1
            except (LoadFailed, subprocess.SubprocessError) as error:
                wrong.append(str(error))
                return

    (name,) = control.ask("GET", "/proxies", {})
    toxics, took_ms = f"/proxies/{name}/toxics", []
    loading = threading.Thread(target=load)
    loading.start()
    try:
        for number in range(count):
            toxic = _FAULTS[number % len(_FAULTS)]
            for method, path, fields in (
                ("POST", toxics, toxic),
                ("DELETE", f"{toxics}/{toxic['type']}_downstream", {}),
            ):
                began_s = time.monotonic()
                control.ask(method, path, fields)
                took_ms.append((time.monotonic() - began_s) * 1e3)
    finally:
        over.set()
        loading.join()
    if wrong:
        raise LoadFailed(wrong[0])
    took_ms.sort()
    return {
        "p50_ms": took_ms[len(took_ms) // 2],
        "p99_ms": took_ms[len(took_ms) * 99 // 100],
        "max_ms": took_ms[-1],
        "carried_mib": rounds * _LOAD_BYTES / (1 << 20),
    }
