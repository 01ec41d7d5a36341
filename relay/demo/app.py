"""The app under test: a plain client that reaches its server through the relay's proxy, by SOCKS4."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import time

from relay.demo.origin import HOST
from relay.observe.kernel.tcp_info import tcp_info
from relay.testing import RunningRelay

PATIENCE_S = 5.0
"""How long the app waits for anything that ought to come at once."""

_CONNECT = b"\x04\x01"  # SOCKS4: version, command; then port, address, and an empty user id
_GRANTED = 0x5A
_LINGER_RST = struct.pack("ii", 1, 0)  # on, 0 s: close() sends RST
_REPLY_BYTES = 8
_PROBES_AT = 3  # struct tcp_info, linux/tcp.h: u8, keepalive probes sent since the peer's last segment


def ask(nat: RunningRelay, port: int) -> socket.socket:
    """Ask the relay for the server's port; it has not answered yet."""
    sock = socket.create_connection(nat.address, timeout=PATIENCE_S)
    try:
        sock.sendall(_CONNECT + struct.pack(">H", port) + ipaddress.IPv4Address(HOST).packed + b"\x00")
    except BaseException:
        sock.close()
        raise
    return sock


def connect(nat: RunningRelay, port: int) -> socket.socket:
    """Ask the relay for the server's port, and be connected.

    Raises:
        OSError: the relay refused, or did not answer.
    """
    sock = ask(nat, port)
    try:
        reply = sock.recv(_REPLY_BYTES)
        if len(reply) != _REPLY_BYTES or reply[1] != _GRANTED:
            raise ConnectionError(f"the relay did not connect: {reply.hex(' ') or 'it closed'}")
    except BaseException:
        sock.close()
        raise
    return sock


def give_up(sock: socket.socket) -> None:
    """End a connection that is still being made: with a RST, for a FIN would only say that the request is complete."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
    sock.close()


def hear(sock: socket.socket) -> str:
    """What the server says next: its words in quotes, `FIN`, or the errno's name."""
    try:
        data = sock.recv(65536)
    except OSError as error:
        return error_name(error)
    return f'"{data.decode()}"' if data else "FIN"


def fate_until(sock: socket.socket, deadline_s: float) -> str:
    """What ends the connection before a moment of the monotonic clock: an errno's name, `FIN`, or nothing: empty."""
    sock.settimeout(max(deadline_s - time.monotonic(), 0.001))
    try:
        data = sock.recv(1)
    except TimeoutError as error:
        return error_name(error) if error.errno else ""  # without an errno it is our own deadline
    except OSError as error:
        return error_name(error)
    return "FIN" if not data else "data"


def keep_alive(sock: socket.socket, *, idle_s: int, interval_s: int, count: int) -> None:
    """Have the kernel probe after so much silence, and give up after so many probes without an answer. Linux."""
    for option, value in (
        (socket.TCP_KEEPIDLE, idle_s),
        (socket.TCP_KEEPINTVL, interval_s),
        (socket.TCP_KEEPCNT, count),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def unanswered_probes(sock: socket.socket) -> int:
    """How many keepalive probes have gone out since the peer's last segment. Linux."""
    return tcp_info(sock)[_PROBES_AT]


def error_name(error: OSError) -> str:
    """`ECONNRESET` and its like, or what the error says."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer"
    return errno.errorcode.get(error.errno or 0, "") or (os.strerror(error.errno) if error.errno else str(error))
