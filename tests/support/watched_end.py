"""What becomes of a connection that a NAT ends, as one of its peers sees it; Linux alone.

A peer only reads, or writes a byte, or sends keepalive probes. In words:

    hears nothing           neither data nor an end
    is not acknowledged     the same, and what it wrote is still on its way
    FIN                     the end of the stream
    ECONNRESET, ETIMEDOUT   the errno; EPIPE is another name of ECONNRESET
    FIN, then ECONNRESET    the end of the stream, and a reset for what is written after it

`EXACT` has the words for each end and peer. Without privilege a kernel's socket answers what comes all the same, so
silence is exact for a peer that only reads: `UNPRIVILEGED`.

    python -m support.watched_end HOST PORT SECONDS EVENTS reads writes ...

says what each of several such connections comes to: a JSON list. It is watched from when it has had a byte back, and
the relay's log, the file EVENTS, says that all have ended.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeAlias

Does: TypeAlias = Literal["reads", "writes", "probes"]

EXACT: Mapping[tuple[str, str], str] = {
    ("silence", "reads"): "hears nothing",
    ("silence", "writes"): "is not acknowledged",
    ("silence", "probes"): "ETIMEDOUT",
    ("rst-on-next", "reads"): "hears nothing",
    ("rst-on-next", "writes"): "ECONNRESET",
    ("rst-on-next", "probes"): "ECONNRESET",
    ("rst", "reads"): "ECONNRESET",
    ("rst", "writes"): "ECONNRESET",
    ("rst", "probes"): "ECONNRESET",
    ("fin", "reads"): "FIN",
    ("fin", "writes"): "FIN, then ECONNRESET",
    ("fin", "probes"): "FIN",
}
UNPRIVILEGED: Mapping[tuple[str, str], str] = {
    **EXACT,
    ("silence", "writes"): "hears nothing",
    ("silence", "probes"): "hears nothing",
}
_LISTENS_S = 0.5  # before a writer writes
_PROBED_S = 8.0  # longer than three probes take
_UNACKED = 24  # struct tcp_info: tcpi_unacked


def watch(sock: socket.socket, does: str, waits_s: float) -> str:
    """What becomes of a connection whose peer waits for so long; a writer writes after a while."""
    heard = ""
    sock.settimeout(waits_s)
    if does == "writes":
        time.sleep(min(waits_s, _LISTENS_S))
        heard = "FIN, then " if _is_at_its_end(sock) else ""
        try:
            sock.send(b"x")
            _await_reset(sock, waits_s)
            if heard:
                sock.send(b"x")
            sock.settimeout(0.01)  # it has waited
        except OSError as error:
            return heard + _named(error)
    if does == "probes":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.settimeout(_PROBED_S)
    try:
        return "hears more" if sock.recv(1) else heard + "FIN"
    except TimeoutError as late:
        return _named(late) if late.errno else _unheard(sock)
    except OSError as error:
        return heard + _named(error)


def _unheard(sock: socket.socket) -> str:
    (unacked,) = struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), _UNACKED)
    return "is not acknowledged" if unacked else "hears nothing"


def _await_reset(sock: socket.socket, waits_s: float) -> None:
    its_error = select.poll()
    its_error.register(sock, 0)  # no event but that
    its_error.poll(waits_s * 1000)


def _is_at_its_end(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except OSError:
        return False


def _named(error: OSError) -> str:
    code = errno.ECONNRESET if error.errno == errno.EPIPE else error.errno
    return errno.errorcode[code or 0]


def main(host: str, port: int, waits_s: float, events: Path, *each_does: str) -> None:
    socks = [socket.create_connection((host, port)) for _ in each_does]
    for sock in socks:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    while events.read_text().count('"flow-ended"') < len(socks):
        time.sleep(0.02)  # a file cannot be waited on
    with ThreadPoolExecutor(len(socks)) as pool:
        found = list(pool.map(watch, socks, each_does, [waits_s] * len(socks)))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), *sys.argv[5:])
