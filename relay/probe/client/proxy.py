"""A proxy that a probe goes through: SOCKS5 (RFC 1928, RFC 1929) or HTTP's CONNECT (RFC 9110 section 9.3.6).

    socks5://HOST:PORT   socks5h://USER:PASS@HOST:PORT   http://HOST:PORT

Names are left to the proxy in either case.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from relay.address import Endpoint, parse_endpoint
from relay.errors import ConfigError, RelayError
from relay.probe.stream import Stream

_SCHEMES = ("socks5", "socks5h", "http")
_FORM = "socks5://HOST:PORT or http://HOST:PORT, with USER:PASS@ if the proxy wants it"
_REPLIES = {1: "failed", 2: "denied", 3: "unreachable", 4: "unreachable", 5: "refused", 6: "timed out"}
_STATUSES = {502: "refused", 503: "unreachable", 504: "timed out", 407: "denied", 403: "denied"}
_ERRORS = {  # RFC 9209 section 2.3
    b"connection_refused": "refused",
    b"destination_ip_unroutable": "unreachable",
    b"connection_timeout": "timed out",
    b"dns_error": "not resolved",
}
_MAX_HEAD_BYTES = 16 * 1024


@dataclass(frozen=True)
class Proxy:
    """Where a proxy is, and how it is asked."""

    scheme: str
    address: Endpoint
    user: str = ""
    password: str = ""

    async def ask(self, stream: Stream, target: Endpoint) -> str:
        """Have it connect; returns nothing, or how that failed.

        Raises:
            Broken: the connection to the proxy is over.
        """
        if self.scheme == "http":
            return await self._ask_http(stream, target)
        return await self._ask_socks(stream, target)

    async def associate(self, stream: Stream) -> Endpoint:
        """Have a SOCKS5 proxy carry UDP for as long as this connection lasts; returns where it takes it.

        Raises:
            Broken: the connection to the proxy is over.
            RelayError: it does not.
        """
        if not await self._greet(stream):
            raise RelayError("the proxy denies access")
        await stream.send(b"\x05\x03\x00" + _address(Endpoint("0.0.0.0", 0)) + bytes(2))
        head = await _exactly(stream, 4)
        size = {1: 4, 4: 16}.get(head[3] if len(head) == 4 else 0)
        if head[1:2] != b"\0" or size is None:
            raise RelayError("the proxy carries no UDP")
        bound = await _exactly(stream, size + 2)
        ip = ip_address(bound[:-2])
        host = self.address.host if ip.is_unspecified else str(ip)
        return Endpoint(host, int.from_bytes(bound[-2:], "big"))

    async def _greet(self, stream: Stream) -> bool:
        """Whether the proxy takes this client."""
        await stream.send(b"\x05\x01\x02" if self.user else b"\x05\x01\x00")
        method = await _exactly(stream, 2)
        if method == b"\x05\x02" and self.user:
            user, password = self.user.encode(), self.password.encode()
            await stream.send(b"\x01%c%b%c%b" % (len(user), user, len(password), password))
            method = b"\x05\x00" if (await _exactly(stream, 2))[1:] == b"\x00" else b""
        return method == b"\x05\x00"

    async def _ask_socks(self, stream: Stream, target: Endpoint) -> str:
        if not await self._greet(stream):
            return "denied"
        await stream.send(b"\x05\x01\x00" + _address(target) + target.port.to_bytes(2, "big"))
        head = await _exactly(stream, 4)
        if len(head) < 4:
            return "closed"
        if head[1]:
            return _REPLIES.get(head[1], "failed")
        size = {1: 4, 4: 16}.get(head[3])
        await _exactly(stream, (size if size is not None else (await _exactly(stream, 1) or b"\0")[0]) + 2)
        return ""

    async def _ask_http(self, stream: Stream, target: Endpoint) -> str:
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        if self.user:
            credentials = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            head += f"Proxy-Authorization: Basic {credentials}\r\n"
        await stream.send(f"{head}\r\n".encode())
        reply = b""
        while not reply.endswith(b"\r\n\r\n"):
            byte = await stream.receive(1)  # what follows the head is the destination's
            reply += byte
            if not byte or len(reply) > _MAX_HEAD_BYTES:
                return "closed"
        words = reply.split(b" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        if 200 <= status < 300:
            return ""
        return next((how for error, how in _ERRORS.items() if error in reply), _STATUSES.get(status, "failed"))


def parse_proxy(url: str, *, where: str) -> Proxy:
    """Read a proxy's URL.

    Raises:
        ConfigError: it is none; naming `where`.
    """
    scheme, colon, rest = url.partition("://")
    userinfo, _, address = rest.rstrip("/").rpartition("@")
    if not colon or scheme not in _SCHEMES or urlsplit(url).path not in {"", "/"}:
        raise ConfigError(f"{where}: cannot read {_without_password(url)!r}", hint=f"the form is {_FORM}")
    user, _, password = userinfo.partition(":")
    return Proxy(scheme, parse_endpoint(address, where=where), unquote(user), unquote(password))


def _without_password(url: str) -> str:
    return url.rpartition("@")[2]


def _address(target: Endpoint) -> bytes:
    if (ip := target.ip) is not None:
        return (b"\x04" if ip.version == 6 else b"\x01") + ip.packed
    name = target.host.encode("idna")
    return b"\x03%c%b" % (len(name), name)


async def _exactly(stream: Stream, count: int) -> bytes:
    """So many bytes, or as many as came before the end."""
    data = b""
    while len(data) < count and (more := await stream.receive(count - len(data))):
        data += more
    return data
