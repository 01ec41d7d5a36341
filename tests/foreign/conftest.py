"""Web servers for other people's clients to reach, and a relay to reach them through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.clients import PASSWORD, USER
from support.origins import Origin
from support.web import Authority, new_authority, secure_web, web


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def plain() -> Iterator[Origin]:
    """A web server."""
    with Origin(web()) as origin:
        yield origin


@pytest.fixture
def secure(authority: Authority) -> Iterator[Origin]:
    """The same behind TLS."""
    with secure_web(authority) as origin:
        yield origin


@pytest.fixture
def nat(backend: str) -> Iterator[RunningRelay]:
    """A relay for everybody, with the profile people start with."""
    with serve_in_thread(backend=backend) as running:
        yield running


@pytest.fixture
def guarded(backend: str) -> Iterator[RunningRelay]:
    """A relay that asks for a user and a password."""
    with serve_in_thread(backend=backend, auth=f"{USER}:{PASSWORD}") as running:
        yield running
