"""Every test of the running relay runs on both async libraries."""

from __future__ import annotations

import select

import pytest

from relay.net.readiness.kqueue import KqueueReadiness
from relay.net.readiness.tasks import TaskReadiness
from support import kqueue

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


@pytest.fixture
def with_kqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a kqueue, this host's own or one that is made of epolls."""
    if not hasattr(select, "kqueue"):
        for name, value in kqueue.NAMES.items():
            monkeypatch.setattr(select, name, value, raising=False)


@pytest.fixture(params=["epoll", "kqueue", "tasks"])
def readiness(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, with_kqueue: None) -> str:
    """How the relay waits for its sockets: this host's own way, and those of other hosts."""
    name: str = request.param
    if name == "kqueue":
        monkeypatch.setattr("relay.net.engine.open_readiness", lambda _, on_fault: KqueueReadiness(on_fault))
    elif name == "tasks":
        monkeypatch.setattr("relay.net.engine.open_readiness", TaskReadiness)
    return name
