from __future__ import annotations

import unittest

import greeter

from relay.testing import serve_in_thread


class TestWithoutPytest(unittest.TestCase):
    """Runs under `python -m unittest` as well."""

    def test_in_a_unittest(self) -> None:
        with greeter.serve() as server, serve_in_thread("vmware-fusion") as nat:
            with greeter.Client(*nat.forward(*server)) as client:
                self.assertEqual(client.greet("ann"), "hello ann")  # noqa: PT009
            nat.wait_for("flow-ended", because="internal-peer")
