"""The benchmark's loads do what they say, on a small scale."""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = Path(__file__).parents[1] / "bench" / "load.py"
    spec = importlib.util.spec_from_file_location("bench_load", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_load", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BULK_BYTES", 1 << 22)
    monkeypatch.setattr(module, "_CONNECTS", 20)
    monkeypatch.setattr(module, "_ROUND_TRIPS", 20)
    return module


@pytest.mark.skipif(sys.platform == "win32", reason="a process is forked, so that it has the small scale, too")
def test_every_load_runs_against_the_origin(load: ModuleType) -> None:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=load.serve_origin, args=(sender,), daemon=True)
    process.start()
    try:
        port = receiver.recv()
        for measure in (load.bulk_up, load.bulk_down, load.connects, load.ping_pong):
            assert measure(port) > 0
    finally:
        process.terminate()
        process.join()
        receiver.close()
        sender.close()
