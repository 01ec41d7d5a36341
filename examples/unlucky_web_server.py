"""A web server that has bad luck: what `with_requests.py`, `with_httpx.py` and `with_aiohttp.py` talk to.

    /works          an answer
    /cable-pulled   the link goes down when the request has come, before there is an answer
    /half           half of an answer; the rest never comes

When its host's link goes down, be it for the blink of a DHCP renewal, VMware's NAT resets every connection.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from relay import RunningRelay

ANSWER = b"hello from the server"


@contextlib.contextmanager
def unlucky_web_server(nat: RunningRelay) -> Iterator[str]:
    """Serve until the block ends; returns the URL to put a path behind."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # the connection is kept for the next request

        def do_GET(self) -> None:
            if self.path == "/cable-pulled":
                nat.link_down()
            self.send_response(200)
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            if self.path == "/half":
                self.wfile.write(ANSWER[: len(ANSWER) // 2])
                self.rfile.read(1)  # until the connection is over
            else:
                self.wfile.write(ANSWER)

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
