"""A web server of the tests' own, over h11: keep-alive, chunked bodies, TLS.

    GET /anything    ->  200, "GET /anything"
    POST or PUT      ->  200, the request's body

Any other method is answered as GET is. A HEAD gets no body.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h11
import trustme

from support.origins import Handler, Origin

Inspect = Callable[[h11.Request], None]


def web(inspect: Inspect | None = None) -> Handler:
    """A handler for `Origin`; `inspect` is given each request's head."""

    def handle(connection: socket.socket) -> None:
        http = h11.Connection(h11.SERVER)
        while http.our_state is not h11.MUST_CLOSE:
            request, body = _read_request(http, connection)
            if request is None:
                return
            if inspect is not None:
                inspect(request)
            content = body if request.method in {b"POST", b"PUT"} else request.method + b" " + request.target
            connection.sendall(_response(http, content, with_body=request.method != b"HEAD"))
            if http.our_state is http.their_state is h11.DONE:
                http.start_next_cycle()

    return handle


def _read_request(http: h11.Connection, connection: socket.socket) -> tuple[h11.Request | None, bytes]:
    request: h11.Request | None = None
    body = b""
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                if http.they_are_waiting_for_100_continue:
                    connection.sendall(http.send(h11.InformationalResponse(status_code=100, headers=[])))
                http.receive_data(connection.recv(65536))
            case h11.Request() as head:
                request = head
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                return request, body
            case h11.ConnectionClosed():
                return None, b""


def _response(http: h11.Connection, content: bytes, *, with_body: bool) -> bytes:
    head = h11.Response(status_code=200, headers=[("Content-Length", str(len(content))), ("X-Origin", "yes")])
    sent = http.send(head)
    if with_body:
        sent += http.send(h11.Data(data=content))
    return sent + http.send(h11.EndOfMessage())


@dataclass(frozen=True)
class Authority:
    """A certificate authority for one test run, and the server side of what it signed."""

    ca_file: Path
    server: ssl.SSLContext

    def client(self) -> ssl.SSLContext:
        """A context that trusts it."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def new_authority(directory: Path) -> Authority:
    """Sign a certificate for loopback and for `origin.test`."""
    authority = trustme.CA()
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "::1", "origin.test").configure_cert(server)
    return Authority(ca_file, server)


@contextlib.contextmanager
def secure_web(authority: Authority, host: str = "127.0.0.1") -> Iterator[Origin]:
    """The same web server behind TLS."""
    serve = web()

    def handle(connection: socket.socket) -> None:
        with (
            contextlib.suppress(ssl.SSLError),  # a client that does not trust us
            authority.server.wrap_socket(connection, server_side=True) as secured,
        ):
            serve(secured)

    with Origin(handle, host) as origin:
        yield origin
