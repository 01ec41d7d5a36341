"""Several processes serve one relay on Linux alone."""

from __future__ import annotations

import sys

import pytest

from support.capabilities import missing


@pytest.fixture(autouse=True)
def _linux() -> None:
    if sys.platform != "linux":
        missing("only Linux spreads connections over listeners")
