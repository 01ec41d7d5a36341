"""A relay with a control, and its client.

What needs a package of npm runs with `RELAY_SOAK=1 pytest -m soak`, where that is installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.control_client import Client

collect_ignore = [] if os.environ.get("RELAY_SOAK") == "1" else ["test_toxiproxy_node.py"]


@pytest.fixture
def nat(backend: str) -> Iterator[RunningRelay]:
    with serve_in_thread("vmware-fusion", backend=backend) as relay:
        yield relay


@pytest.fixture
def client(nat: RunningRelay) -> Client:
    return Client(nat.control_url)
