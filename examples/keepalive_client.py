"""Rely on TCP keepalive, and a dead server looks alive for ever behind VMware's NAT.

The client of September 2017: it sends nothing, and has its kernel probe a silent server each second and give up after
two probes without an answer. The server is frozen as if its cable had been pulled. On a plain network the client gets
ETIMEDOUT (transparent). VMware's NAT answers the probes itself, so the client never learns (vmware-fusion).

    python keepalive_client.py

Takes 10 s. Needs Linux. Freezing a server in earnest takes CAP_NET_ADMIN: run it with sudo, or as an ordinary user

    unshare -Urn sh -c 'ip link set lo up; exec python keepalive_client.py'

Without it only VMware's NAT, for which silence is enough, is shown.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from relay import serve_in_thread
from relay.abilities import Ability, Want
from relay.observe import Fidelity, survey

IDLE_S, INTERVAL_S, PROBES = 1, 1, 2
GIVES_UP_AFTER_S = IDLE_S + INTERVAL_S * PROBES
WATCHED_S = 3 * GIVES_UP_AFTER_S


def rely_on_keepalive(sock: socket.socket) -> str:
    """Wait for a server that says nothing, and tell how that ends."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.settimeout(WATCHED_S)
    began_s = time.monotonic()
    try:
        sock.recv(1)
    except OSError as error:
        if error.errno is not None:  # our own deadline has none
            return f"{errno.errorcode[error.errno]} after {time.monotonic() - began_s:.0f} s"
        return f"up after {WATCHED_S} s"
    return "closed"


def try_behind(profile: str) -> str:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serve_in_thread(profile) as nat,
        socket.create_connection(nat.forward(*listener.getsockname())) as client,
        listener.accept()[0] as server,
    ):
        server.sendall(b"welcome")
        assert client.recv(7) == b"welcome"
        nat.freeze("external")
        seen = rely_on_keepalive(client)
        probes = sum(record.event == "keepalive-probe" for record in nat.events)
        return f"{profile:16}{seen:24}{probes} probes came from the client"


if __name__ == "__main__":
    profiles = ["transparent", "vmware-fusion"]
    frozen_in_earnest = survey().of(Want(Ability.BLACKHOLE))
    if frozen_in_earnest.fidelity is not Fidelity.EXACT:
        print(f"transparent     cannot be shown here: {frozen_in_earnest.how}", file=sys.stderr)
        profiles.remove("transparent")
    print(f"The server freezes. The client's kernel is to give up after {GIVES_UP_AFTER_S} s.", flush=True)
    with ThreadPoolExecutor() as pool:
        for told in pool.map(try_behind, profiles):
            print(told, flush=True)
