"""Ports whose numbers are to be known before anything listens there."""

from __future__ import annotations

import contextlib
import random
import socket


def free_port(following: int = 0) -> int:
    """A port that is free for TCP and UDP on all addresses, as are so many behind it.

    Kernels pick higher ones for dials and for port 0, so no socket of another test gets it by chance.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for each in range(port, port + 1 + following):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    everywhere = stack.enter_context(socket.socket(socket.AF_INET6, kind))
                    everywhere.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                    everywhere.bind(("::", each))
            return port
    raise AssertionError("no port is free")
