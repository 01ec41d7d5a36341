"""Which requests may see and steer a relay, decided before anything is read of their body.

A page in a browser can send requests to any address that the browser reaches, this host's own among them. It cannot
choose their Host (a page that reaches the control by a name of its own, by DNS rebinding, sends that name), cannot hide
its Origin, and cannot send JSON, or a header of ours, to another origin unless that allows it. The control allows none.

* Host is an address literal, `localhost`, or a name that the relay was given.
* What a page of another origin sends is refused, except that a link may lead to the page itself.
* What changes something has JSON as its content type, or our header. Programs, which send no Origin, may leave the
  content type out, or give any where there is no body: the clients of toxiproxy do.
* With a token, everything but the page's own files needs it.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from relay.control_api.exchange import JSON, Refused, Request

OUR_HEADER = "x-relay-control"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OF_A_PAGE = ("origin", "sec-fetch-site")  # Node's fetch sends Sec-Fetch-Mode
_FILES = ("relay", "page")


class Guard:
    """The rules of one control."""

    def __init__(self, *, hosts: Collection[str] = (), token: str = "", any_host: bool = False) -> None:
        """`hosts` are names that clients may reach it by; `any_host` is for a socket that no browser reaches."""
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._token = token.encode()
        self._any_host = any_host

    def check(self, request: Request) -> None:
        """Let a request pass.

        Raises:
            Refused: with 401, 403 or 415.
        """
        self._check_host(request.header("host"))
        _check_origin(request)
        if request.method not in _SAFE:
            _check_content(request)
        if self._token and not _is_page(request):
            self._check_token(request.header("authorization"))

    def _check_host(self, value: str) -> None:
        host = _host_of(value)
        if self._any_host or host in self._hosts or host == "localhost" or _is_address(host):
            return
        raise Refused(
            403,
            f"Host {value!r} is no name of this relay's",
            hint="ask for it by address, or name it: --control-host NAME",
        )

    def _check_token(self, given: str) -> None:
        scheme, _, token = given.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token):
            return
        said = "the token is wrong" if given else "a token is needed"
        raise Refused(
            401, said, hint="send Authorization: Bearer TOKEN", headers={"WWW-Authenticate": 'Bearer realm="relay"'}
        )


def _check_origin(request: Request) -> None:
    origin, site = request.header("origin"), request.header("sec-fetch-site").lower()
    is_link = request.method in _SAFE and request.header("sec-fetch-mode").lower() == "navigate" and not origin
    if origin and urlsplit(origin).netloc.lower() != request.header("host").lower():
        raise Refused(403, f"a page of another origin, {origin!r}, may not steer this relay")
    if site not in {"", "same-origin", "none"} and not is_link:
        raise Refused(403, "a page of another site may not steer this relay")


def _check_content(request: Request) -> None:
    kind = request.header("content-type").partition(";")[0].strip().lower()
    if kind == JSON or OUR_HEADER in request.headers:
        return
    by_page = any(name in request.headers for name in _OF_A_PAGE) or "mozilla/" in request.header("user-agent").lower()
    has_body = request.header("content-length") not in {"", "0"} or "transfer-encoding" in request.headers
    if by_page or (kind and has_body):
        raise Refused(
            415, f"Content-Type {kind or 'of none'!r} changes nothing here", hint="send JSON: application/json"
        )


def _is_page(request: Request) -> bool:
    return request.method in _SAFE and request.parts[:2] in {(), _FILES}


def _host_of(value: str) -> str:
    if value.startswith("["):
        return value[1:].partition("]")[0].lower()
    return value.partition(":")[0].lower().rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
