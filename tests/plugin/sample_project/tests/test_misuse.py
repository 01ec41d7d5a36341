"""What happens to those who ask for what there is not. All of these fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relay.testing import RunningRelay


@pytest.mark.nat_relay("vmware-fuson")
def test_unknown_profile(nat_relay: RunningRelay) -> None:
    pass


@pytest.mark.nat_relay(tos_reset={"msk": 0xFC})
def test_unknown_setting(nat_relay: RunningRelay) -> None:
    pass


def test_wait_for_what_never_comes(nat_relay: RunningRelay) -> None:
    nat_relay.wait_for("flow-ended", timeout_s=0.1)


@pytest.fixture(scope="module")
def late() -> Iterator[list[RunningRelay]]:
    kept: list[RunningRelay] = []
    yield kept
    kept[0].socks_url  # noqa: B018


def test_used_after_it_ended(late: list[RunningRelay], nat_relay: RunningRelay) -> None:
    late.append(nat_relay)
