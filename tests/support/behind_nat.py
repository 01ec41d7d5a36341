"""Programs that `relay run` puts behind the NAT, in a network of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.capabilities import need_root
from support.programs import RELAY, run

HOST = "192.168.127.1"
"""What leads to this host's loopback from inside."""
BACKENDS = ("asyncio", "trio")


def run_inside(
    directory: Path, command: Sequence[str], *options: str, prefix: Sequence[str] = (), timeout_s: float = 90.0
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run a command behind the NAT; what it said, and the relay's event log.

    `prefix` is a command that runs the relay, such as `as_ordinary_user()`.
    """
    need_root()
    events = directory / "events.jsonl"
    events.unlink(missing_ok=True)
    done = run(*prefix, *RELAY, "run", "--events", str(events), *options, "--", *command, timeout_s=timeout_s)
    return done, [json.loads(line) for line in events.read_text().splitlines()]
