from __future__ import annotations

from collections.abc import Iterator

import greeter
import pytest


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[str, int]]:
    with greeter.serve() as address:
        yield address
