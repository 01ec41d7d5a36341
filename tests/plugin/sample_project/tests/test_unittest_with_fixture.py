from __future__ import annotations

import unittest

import pytest

from relay.testing import RunningRelay


@pytest.mark.nat_relay("transparent")
class TestWithTheFixture(unittest.TestCase):
    nat: RunningRelay

    @pytest.fixture(autouse=True)
    def behind_the_nat(self, nat_relay: RunningRelay) -> None:
        self.nat = nat_relay

    def test_the_marker_counts(self) -> None:
        self.assertEqual(self.nat.profile.name, "transparent")  # noqa: PT009
