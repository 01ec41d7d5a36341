"""The responses that the relay itself gives to an HTTP client, when there is none of an origin's to pass on.

Each says in plain text what went wrong, and again for programs in Proxy-Status (RFC 9209): an origin's own 502 has none
of the relay's name in it, so the two can be distinguished. Each ends the connection.
"""

from __future__ import annotations

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind

_REASON = {
    400: b"Bad Request",
    403: b"Forbidden",
    407: b"Proxy Authentication Required",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
_FAILURES = {  # the status, RFC 9209's error type (section 2.3), and the text for a person
    FailureKind.REFUSED: (502, "connection_refused", "connection refused"),
    FailureKind.NETWORK_UNREACHABLE: (502, "destination_ip_unroutable", "network unreachable"),
    FailureKind.HOST_UNREACHABLE: (502, "destination_ip_unroutable", "host unreachable"),
    FailureKind.TIMED_OUT: (504, "connection_timeout", "connection timed out"),
    FailureKind.NOT_RESOLVED: (502, "dns_error", "name not resolved"),
    FailureKind.DENIED: (403, "http_request_denied", "denied by the relay"),
    FailureKind.EXHAUSTED: (503, "connection_limit_reached", "the relay is out of resources"),
    FailureKind.OTHER: (502, "destination_unavailable", "connection failed"),
}


def reply(
    status: int,
    text: str,
    *,
    error: str,
    method: bytes = b"",
    headers: tuple[bytes, ...] = (),
) -> bytes:
    """A whole response. `error` is an error type of RFC 9209; the answer to a HEAD has the length but not the text."""
    body = f"{text}\n".encode("utf-8", "replace")
    head = (
        b"HTTP/1.1 %d %s" % (status, _REASON[status]),
        b"Content-Type: text/plain; charset=utf-8",
        b"X-Content-Type-Options: nosniff",  # a browser must not take what the text quotes for a page
        b"Content-Length: %d" % len(body),
        b"Proxy-Status: vmnat-relay; error=" + error.encode("ascii"),
        *headers,
        b"Connection: close",
        b"",
        b"" if method == b"HEAD" else body,
    )
    return b"\r\n".join(head)


def refusal(failure: DialFailure, destination: Endpoint, method: bytes) -> bytes:
    """The response that says why `destination` was not reached."""
    status, error, phrase = _FAILURES[failure.kind]
    text = f"{phrase}: {destination}" + (f" ({failure.detail})" if failure.detail else "")
    return reply(status, text, error=error, method=method)
