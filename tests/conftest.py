"""Every test of the running relay runs on both async libraries."""

from __future__ import annotations

import pytest

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
