"""A relay with a control, and its client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.control_client import Client


@pytest.fixture
def nat(backend: str) -> Iterator[RunningRelay]:
    with serve_in_thread("vmware-fusion", backend=backend) as relay:
        yield relay


@pytest.fixture
def client(nat: RunningRelay) -> Client:
    return Client(nat.control_url)
