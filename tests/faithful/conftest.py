"""A relay that changes nothing, on both async libraries and with both ways to wait for sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relay.testing import RunningRelay, serve_in_thread


@pytest.fixture
def transparent(backend: str, readiness: str) -> Iterator[RunningRelay]:
    """A relay with the control profile."""
    with serve_in_thread("transparent", backend=backend, connect_timeout_s=1.0) as nat:
        yield nat
