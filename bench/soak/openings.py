"""What an initiator says to each front end, and how it takes the answer."""

from __future__ import annotations

import asyncio
import socket

_SOCKS4_REPLY_BYTES, _SOCKS5_REPLY_BYTES = 8, 10  # what is reached is IPv4 throughout
_REFUSED_CODES = {"socks4": 0x5B, "socks4a": 0x5B, "socks5": 0x05, "http-connect": 502, "http": 502}
NAME = "localhost"
"""What SOCKS4a asks for: a name that the relay has to look up."""


class Refused(Exception):
    """The relay said no, and in the right words for a destination that refused."""


class WrongReply(Exception):
    """It said something else."""


def destination(front_end: str, port: int) -> str:
    """What the relay's records call what is asked for."""
    return f"{NAME if front_end == 'socks4a' else '127.0.0.1'}:{port}"


def request(front_end: str, port: int) -> bytes:
    """All that the initiator says before its connection is there; of SOCKS5 with the greeting before it."""
    port_bytes, address = port.to_bytes(2), socket.inet_aton("127.0.0.1")
    match front_end:
        case "socks4":
            return b"\x04\x01" + port_bytes + address + b"me\x00"
        case "socks4a":
            return b"\x04\x01" + port_bytes + b"\x00\x00\x00\x01me\x00" + NAME.encode() + b"\x00"
        case "socks5":
            return b"\x05\x01\x00\x05\x01\x00\x01" + address + port_bytes
        case "http-connect":
            return f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        case "http":
            return post(port, 0)
        case _:
            return b""


def post(port: int, length: int) -> bytes:
    """The head of a request for the proxy to forward."""
    authority = f"127.0.0.1:{port}"
    return (
        f"POST http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {length}\r\n\r\n"  # RFC 9112 3.2.2
    ).encode()


async def ask(sock: socket.socket, front_end: str, port: int, early: bytes) -> None:
    """Ask for a connection to this port of the loopback; `early` is said in the same segment.

    A plain HTTP request is `early`, and its reply not waited for.

    Raises:
        Refused: the destination refused, says the relay.
        WrongReply: it says something else, or what it says is no reply.
    """
    loop = asyncio.get_running_loop()
    said = request(front_end, port) if front_end != "http" else b""  # there the head is the flow's own
    if front_end == "socks5":
        await loop.sock_sendall(sock, said[:3])
        if (chosen := await _read(sock, 2)) != b"\x05\x00":
            raise WrongReply(f"SOCKS5: {chosen!r}")
        said = said[3:]
    await loop.sock_sendall(sock, said + early)
    match front_end:
        case "socks4" | "socks4a":
            _check_code(front_end, (await _read(sock, _SOCKS4_REPLY_BYTES))[1], granted=0x5A)
        case "socks5":
            _check_code(front_end, (await _read(sock, _SOCKS5_REPLY_BYTES))[1], granted=0x00)
        case "http-connect":
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await _read(sock, 1)
            check_status(front_end, head)


def check_status(front_end: str, head: bytes) -> None:
    """Take the head of an HTTP response; raises what `ask` does."""
    _check_code(front_end, int(head.split()[1]), granted=200)


def _check_code(front_end: str, code: int, *, granted: int) -> None:
    if code == _REFUSED_CODES[front_end]:
        raise Refused
    if code != granted:
        raise WrongReply(f"{front_end}: code {code}")


async def _read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not chunk:
            raise WrongReply(f"the connection ended after {data!r}, where {count} bytes were due")
        data += chunk
    return data
