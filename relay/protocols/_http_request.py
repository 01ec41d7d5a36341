"""A proxy request's head: its limits, its target, its authentication (RFC 9112 section 3.2, RFC 9110 section 11.7).

    CONNECT host:port HTTP/1.1            a tunnel (authority form)
    GET http://host[:port]/path HTTP/1.1  a request to pass on (absolute form)

The bytes are kept here until the head is whole and then parsed by h11; so the two limits can be distinguished, hold too
for a head that came in one piece, and a head that is too long is answered as soon as that is certain. What follows the
head stays in `buffer`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache

import h11

from relay.address import MAX_PORT, Endpoint
from relay.errors import ProtocolError
from relay.protocols._base import NEED_DATA, Credentials, NeedData, read_host
from relay.protocols._http_fields import HeadFields
from relay.protocols._http_head import SectionEnd, TooLarge
from relay.protocols._http_parse import fault_of, parse_request
from relay.protocols._http_reply import reply

MAX_REQUEST_LINE_BYTES = 8192  # RFC 9112 section 3 asks for at least 8000

# What a line may be named by: a protocol's verb, a field's name, ssh's greeting. Any other word may be a token.
_KNOWN_WORD = re.compile(
    rb"(?:[A-Z]{1,16}|[A-Z][a-z]+(?:-[A-Z][a-z]+)+|https?|SSH-[0-9.]+-[A-Za-z0-9._]{1,24})(?![A-Za-z0-9._-])"
)
_REQUEST_LINE = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9]\.[0-9]\r?")
_AUTHORITY = re.compile(rb"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)")
_CHALLENGE = b'Proxy-Authenticate: Basic realm="relay"'


@dataclass(slots=True)
class ProxyRequest:
    """What a client asked for."""

    head: h11.Request
    """As it came."""
    fields: HeadFields
    destination: Endpoint
    host: bytes
    """The value of the Host header that belongs to the target, whatever the client's own says."""
    target: bytes
    """The target in origin form; empty for CONNECT."""

    @property
    def is_connect(self) -> bool:
        return self.head.method == b"CONNECT"

    @property
    def is_1_1(self) -> bool:
        """Whether the client takes chunks, responses that are not final, and other protocols."""
        return self.head.http_version >= b"1.1"


class RequestReader:
    """Reads one client's requests, one head at a time, and keeps what has not been read."""

    def __init__(self, credentials: Credentials | None, buffer: bytearray) -> None:
        self._credentials = credentials
        self._line_end = 0  # of the request line, once it is there
        self._end = SectionEnd()
        self.buffer = buffer
        """Received and not read: the head that is under way, or after one whatever followed it."""

    def read_request(self) -> ProxyRequest | NeedData:
        """The next request, once its head is whole.

        Raises:
            ProtocolError: with a response; the connection cannot go on.
        """
        if not self.buffer:
            return NEED_DATA
        if self.buffer.startswith((b"\r", b"\n")):  # RFC 9112 section 2.2: some clients add an empty line after a body
            del self.buffer[: len(self.buffer) - len(self.buffer.lstrip(b"\r\n"))]
        head = self._take_head()
        if head is None:
            return NEED_DATA
        try:
            request = parse_request(head)
        except h11.ProtocolError as error:
            raise bad_request(fault_of(error), status=error.error_status_hint, method=_method(head)) from None
        self._authenticate(request)
        return _understood(request)

    def _take_head(self) -> bytes | None:
        if not self._line_end:
            line_end = self.buffer.find(b"\n", 0, MAX_REQUEST_LINE_BYTES + 2)
            if line_end < 0:
                if len(self.buffer) > MAX_REQUEST_LINE_BYTES + 1:  # the line and a CR
                    raise bad_request(f"the request line is longer than {MAX_REQUEST_LINE_BYTES} bytes", status=414)
                return None
            # Answered before the blank line: what speaks another protocol may never send one.
            if not _REQUEST_LINE.fullmatch(self.buffer, 0, line_end):
                raise bad_request(f"{_begin_of(self.buffer)} is not an HTTP request line")
            self._line_end = line_end
        try:
            head_end = self._end.find(self.buffer, self._line_end)
        except TooLarge as error:
            raise bad_request(str(error), status=431, method=_method(self.buffer)) from None
        if not head_end:
            return None
        self._line_end = 0
        head = bytes(self.buffer[:head_end])
        del self.buffer[:head_end]
        return head

    def _authenticate(self, request: h11.Request) -> None:
        if self._credentials is None:
            return
        for name, value in request.headers:
            if name == b"proxy-authorization" and _basic(self._credentials, value):
                return
        raise ProtocolError(
            "http: no or wrong proxy credentials",
            reply=reply(
                407,
                "this proxy asks for a username and a password",
                error="http_request_denied",
                method=request.method,
                headers=(_CHALLENGE,),
            ),
        )


def bad_request(why: str, *, status: int = 400, method: bytes = b"") -> ProtocolError:
    """The error for a request that cannot be served as it is written."""
    return ProtocolError(f"http: {why}", reply=reply(status, why, error="http_request_error", method=method))


def _begin_of(line: bytearray) -> str:
    """A name for a line of any kind, by its first word if that is a known one: credentials may be anywhere else."""
    word = _KNOWN_WORD.match(line)
    return "a line" if word is None else f"a line that begins with {word[0].decode('ascii')!r}"


def _method(head: bytes | bytearray) -> bytes:
    return bytes(head[: head.find(b" ")])


def _basic(credentials: Credentials, value: bytes) -> bool:
    scheme, _, token = value.partition(b" ")
    try:
        username, _, password = base64.b64decode(token.strip(), validate=True).partition(b":")
    except binascii.Error:
        return False
    return scheme.lower() == b"basic" and credentials.match(username, password)


def _understood(request: h11.Request) -> ProxyRequest:
    fields = HeadFields(request.headers.raw_items())
    if fields.chunked and (fields.length is not None or request.http_version < b"1.1"):
        # RFC 9112 section 6.1: a server behind us may take the other length for the right one
        raise bad_request("a Transfer-Encoding where the body's length is in doubt", method=request.method)
    try:
        if request.method == b"CONNECT":
            return ProxyRequest(request, fields, _endpoint(request.target, None), request.target, b"")
        return _absolute(request, fields)
    except ValueError as error:
        raise bad_request(str(error), method=request.method) from None


def _absolute(request: h11.Request, fields: HeadFields) -> ProxyRequest:
    match = _ABSOLUTE.match(request.target)
    if match is None:
        raise ValueError(
            "this is a proxy, not a web server: set it as your client's HTTP proxy, "
            "and it will ask for http://host/path instead of a path alone"
        )
    scheme, authority, rest = match.groups()
    if scheme.lower() == b"https":
        raise ValueError(
            "an https:// URL is reached by CONNECT, and never stands in the request line: set your client's proxy "
            'for https (HTTPS_PROXY, proxies["https"]) to http://HOST:PORT of this relay'
        )
    if scheme.lower() != b"http":
        raise ValueError(f"only http:// addresses are passed on, not {scheme.decode('ascii')}://")
    host = authority.rpartition(b"@")[2]  # RFC 9110 section 4.2.4: a user before the host is not passed on
    if not rest and request.method == b"OPTIONS":
        rest = b"*"  # RFC 9112 section 3.2.4: about the server, not about a page of it
    elif not rest.startswith(b"/"):
        rest = b"/" + rest
    return ProxyRequest(request, fields, _endpoint(host, 80), host, rest)


@lru_cache(256)  # a client asks the same few again and again, and one takes 4 us
def _endpoint(authority: bytes, default_port: int | None) -> Endpoint:
    match = _AUTHORITY.fullmatch(authority)
    if match is None or b"@" in authority:  # not quoted: a user and a password may be in it
        raise ValueError("cannot read the address: the form is host:port, an IPv6 address in brackets")
    host, digits = read_host(match[1]), match[2]
    if not digits:
        if default_port is None:
            raise ValueError(f"{authority[:300]!r} has no port: the form is host:port")
        return Endpoint(host, default_port)
    if len(digits) > 5 or not 0 < int(digits) <= MAX_PORT:
        raise ValueError(f"nothing can listen on port {digits[:80].decode('ascii')}: a port is 1 to {MAX_PORT}")
    return Endpoint(host, int(digits))
