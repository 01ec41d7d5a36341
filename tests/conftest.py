"""Every test of the running relay runs on both async libraries."""

from __future__ import annotations

import pytest

from relay.net.readiness import TaskReadiness

BACKENDS = ("asyncio", "trio")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The async library that the relay under test runs on."""
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(backend: str) -> str:
    """The same for tests that are async themselves."""
    return backend


@pytest.fixture(params=["epoll", "tasks"])
def readiness(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the relay waits for its sockets: this host's own way, and that of hosts without epoll."""
    name: str = request.param
    if name == "tasks":
        monkeypatch.setattr("relay.net.engine.open_readiness", TaskReadiness)
    return name
