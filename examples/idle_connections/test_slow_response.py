"""A request whose answer takes minutes: its client sends nothing meanwhile, and so hears nothing of the NAT.

    pip install vmnat-relay pytest httpx
    python -m pytest test_slow_response.py

A job that the client asks about each minute is the remedy: no request is quiet for long. Works on every system.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from relay.testing import RunningRelay

SEEN = {
    "aws-nat-gateway": httpx.ReadTimeout,  # the client's own; with timeout=None it waits without end
    "docker-desktop": httpx.RemoteProtocolError,  # FIN in place of the answer
    "azure-load-balancer": httpx.ReadTimeout,
}


@pytest.fixture
def url(nat_relay: RunningRelay) -> Iterator[str]:
    """A server behind the NAT: `/report` is answered after 350 s, `/job` at once, with 202 for as long."""
    minutes = iter(range(6))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/report":
                nat_relay.advance(350)
            with contextlib.suppress(ConnectionError):
                self.send_response(202 if self.path == "/job" and next(minutes, None) is not None else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        host, port = nat_relay.forward("127.0.0.1", server.server_port)
        yield f"http://{host}:{port}"
        server.shutdown()


@pytest.mark.nat_relay(list(SEEN))
def test_a_request_that_waits_for_its_answer_hears_nothing(nat_relay: RunningRelay, url: str) -> None:
    with httpx.Client(timeout=1) as client, pytest.raises(SEEN[nat_relay.profile.name]):
        client.get(f"{url}/report")


@pytest.mark.nat_relay(list(SEEN))
def test_a_job_that_the_client_asks_about_each_minute_gets_done(nat_relay: RunningRelay, url: str) -> None:
    with httpx.Client() as client:
        while client.get(f"{url}/job").status_code == 202:
            nat_relay.advance(60)  # in the app: time.sleep(60)
    assert len(nat_relay.flows) == 1  # on one connection all the time
