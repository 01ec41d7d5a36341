"""A program that has a relay and forks: `python -m support.forking_program HOW BACKEND TARGET`.

It serves a port forward to TARGET, by `serve_in_thread` or, if HOW says so, by `open_relay` in its own event loop, and
prints the port. Then it obeys its input, a word a line, and answers each in a line:

    fork    a child that lives until the program's input ends; the child's pid
    stop    leave the relay's block; `stopped`

The end of its input ends it.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

import anyio
import anyio.to_thread

from relay.config import configure
from relay.server import open_relay
from relay.testing import serve_in_thread


def fork() -> None:
    """Make a child that does nothing, and say its pid."""
    pid = os.fork()
    if pid == 0:
        input_ended = select.poll()
        input_ended.register(0, 0)  # no event but its end
        input_ended.poll()
        os._exit(0)
    answer(pid)


def answer(word: object) -> None:
    print(word, flush=True)  # noqa: T201 - what it is for


def in_thread(backend: str, target: str) -> None:
    with serve_in_thread("vmware-fusion", backend=backend, listen=None, forwards=[f"0:{target}"]) as nat:
        answer(nat.forward_addresses[0].port)
        while sys.stdin.readline() == "fork\n":
            fork()


def in_own_loop(backend: str, target: str) -> None:
    async def serve() -> None:
        async with open_relay(configure("vmware-fusion", listen=None, forwards=[f"0:{target}"])) as nat:
            answer(nat.forward_addresses[0].port)
            while await anyio.to_thread.run_sync(sys.stdin.readline) == "fork\n":
                fork()

    anyio.run(serve, backend=backend)


WAYS: dict[str, Callable[[str, str], None]] = {"serve_in_thread": in_thread, "open_relay": in_own_loop}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:])
    answer("stopped")
    sys.stdin.read()
