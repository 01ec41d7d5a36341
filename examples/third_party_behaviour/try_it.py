"""Twelve connections over the flaky line, thrice: a seed repeats what chance did, and another does something else.

pip install ./third_party_behaviour
python third_party_behaviour/try_it.py
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time

from relay import RelayError, serve_in_thread

CONNECTIONS, WITHIN_S = 12, 0.3


def fates(seed: int) -> str:
    """Open the connections one after another, and tell which of them were reset."""
    half_of_them = {"share": 0.5, "within_s": WITHIN_S}
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        serve_in_thread("transparent", flaky_line=half_of_them, seed=seed) as nat,
        contextlib.ExitStack() as stack,
    ):
        address = nat.forward("127.0.0.1", server.getsockname()[1])
        clients = []
        for _ in range(CONNECTIONS):
            clients.append(stack.enter_context(socket.create_connection(address)))
            stack.enter_context(server.accept()[0])
        deadline_s = time.monotonic() + 3 * WITHIN_S
        return "".join(fate(client, deadline_s) for client in clients)


def fate(client: socket.socket, deadline_s: float) -> str:
    client.settimeout(max(deadline_s - time.monotonic(), 0.01))
    try:
        client.recv(1)
    except TimeoutError:
        return "."
    except ConnectionResetError:
        return "R"
    return "closed"


if __name__ == "__main__":
    try:
        for seed in (7, 7, 8):
            print(f"seed {seed}: {fates(seed)}")
    except RelayError as error:
        sys.exit(f"{error}\nhint: {error.hint}")
