"""The relay at its limits: what it holds is read from Linux's /proc."""

from __future__ import annotations

import sys

import pytest

from support.capabilities import missing


@pytest.fixture(autouse=True)
def _need_linux() -> None:
    if sys.platform != "linux":
        missing("needs /proc and epoll")
