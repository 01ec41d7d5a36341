"""`python -m bench`: every quantity, direct and through the relay, in interleaved rounds; medians and ratios."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import load

QUANTITIES = {
    "bulk up, GiB/s": load.bulk_up,
    "bulk down, GiB/s": load.bulk_down,
    "connects one at a time, 1/s": load.connects,
    "ping-pong p50, us": load.ping_pong,
}
RELAYS = [(backend, profile) for backend in ("asyncio", "trio") for profile in ("vmware-fusion", "transparent")]


@contextlib.contextmanager
def origin() -> Iterator[int]:
    """The origin's port, while it runs in a process of its own."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=load.serve_origin, args=(sender,), daemon=True)
    process.start()
    try:
        yield receiver.recv()
    finally:
        process.terminate()
        process.join()


@contextlib.contextmanager
def forward(backend: str, profile: str, target_port: int) -> Iterator[int]:
    """The port of a forward through a relay that runs in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        ports = Path(directory, "ports")
        command = [sys.executable, "-m", "relay", "serve", "--quiet", "--backend", backend, "--profile", profile]
        listening = ["--listen", "127.0.0.1:0", "--forward", f"0:127.0.0.1:{target_port}", "--port-file", str(ports)]
        process = subprocess.Popen([*command, *listening], stderr=subprocess.DEVNULL)
        try:
            while not ports.exists():
                assert process.poll() is None, "the relay did not start"
                time.sleep(0.02)
            yield int(ports.read_text().split()[1])
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default: 7)")
    rounds = parser.parse_args().rounds
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(origin())
        ports = {"direct": target}
        for backend, profile in RELAYS:
            ports[f"{profile}, {backend}"] = stack.enter_context(forward(backend, profile, target))
        results: dict[tuple[str, str], list[float]] = {}
        for _ in range(rounds):
            for quantity, measure in QUANTITIES.items():
                for name, port in ports.items():
                    results.setdefault((quantity, name), []).append(measure(port))
    print("| quantity | through | median | least to most | ratio to direct |\n| --- | --- | --- | --- | --- |")
    for (quantity, name), values in results.items():
        median = statistics.median(values)
        ratio = median / statistics.median(results[quantity, "direct"])
        print(f"| {quantity} | {name} | {median:.4g} | {min(values):.4g} to {max(values):.4g} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
