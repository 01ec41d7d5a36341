"""Input that is wrong, on every path that takes some: each request gets its status and one line, and flows go on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from relay.control_api import control_spec
from relay.control_api.commands import COMMANDS
from relay.testing import RunningRelay
from support.control_client import Client
from support.origins import Origin, echo, read_exactly

_TOKEN = "0123456789abcdef"
_JSON = {"Content_Type": "application/json"}
_PATHS = (
    *(("POST", f"/relay/v1/commands/{name}") for name in COMMANDS),
    *(("POST", path) for path in ("/proxies", "/populate", "/proxies/one", "/proxies/one/toxics")),
    *((method, "/proxies/one/toxics/late") for method in ("POST", "PATCH")),
)
_BODIES = {
    "no JSON": b"side=server",
    "cut off": b'{"name": ',
    "no UTF-8": b'{"name": "\xff"}',
    "NaN": b'{"name": NaN, "seconds": NaN, "delay_s": NaN, "attributes": {"latency": NaN}}',
    "an infinity": b'{"seconds": -Infinity}',
    "deep": b'{"name":' + b"[" * 100 + b"]" * 100 + b"}",
    "deep and cut off": b'{"a":' * 100,
    "a list": b"[[]]",
    "a number": b"-1",
    "null": b"null",
    "wrong types": b'{"x": 1, "name": "\\ud800\\u202e\\n", "side": 7, "settings": [[]], "seconds": -1e308}',
    "an unknown field": b'{"colour": "red"}',
    "numbers without end": b'{"seconds": 1e999, "scale": 1e999, "seed": ' + b"9" * 4000 + b', "colour": 1}',
}


@pytest.fixture
def app(nat: RunningRelay) -> Iterator[socket.socket]:
    """The app's end of a flow that is open all the while, to an echo."""
    with Origin(echo) as origin, socket.create_connection(nat.forward(origin.host, origin.port), 60) as app:
        yield app


def goes_on(app: socket.socket) -> bool:
    app.sendall(b"still here?")
    return read_exactly(app, 11) == b"still here?"


def test_every_path_answers_a_body_that_is_wrong_with_one_line(
    nat: RunningRelay, client: Client, app: socket.socket
) -> None:
    client.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    client.ask("POST", "/proxies/one/toxics", {"type": "latency", "name": "late"})
    before = client.ask("GET", "/proxies").json
    for kind, body in _BODIES.items():
        for method, path in _PATHS:
            answer = client.ask(method, path, body, **_JSON)
            assert answer.status == answer.json["status"] == 400, (kind, method, path, answer)
            assert answer.json["error"].isprintable(), (kind, method, path, answer)
            assert 0 < len(answer.json["error"]) <= 1000, (kind, method, path, answer)
        assert goes_on(app), kind
    assert client.ask("GET", "/proxies").json == before
    assert not [record for record in nat.events if record.event == "fault"]


_IMPOSSIBLE: tuple[tuple[str, str, object, int, str], ...] = (
    ("POST", "/proxies/one/toxics", {"type": "earthquake"}, 400, "invalid toxic type: 'earthquake'"),
    (
        *("POST", "/proxies/one/toxics", {"type": "latency", "attributes": {"latency": -1}}),
        *(400, "toxic: attributes: latency: -1 is not a number from 0"),
    ),
    ("POST", "/proxies/one/toxics", {"type": "latency", "stream": "up"}, 400, "stream was invalid: 'up'"),
    ("POST", "/proxies/none/toxics", {"type": "latency"}, 404, "proxy not found"),
    ("DELETE", "/proxies/one/toxics/none", {}, 404, "toxic not found"),
    ("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"}, 409, "proxy already exists"),
    ("POST", "/proxies", {"name": "two", "upstream": "a:1", "listen": "TAKEN"}, 500, "listen: cannot listen on "),
    ("POST", "/populate", [{"name": "two", "upstream": "a:1", "listen": "TAKEN"}], 500, "listen: cannot listen on "),
    (
        *("POST", "/relay/v1/commands/open-forward", {"target": "a:1", "listen": "TAKEN"}),
        *(400, "open-forward: listen: cannot listen on "),
    ),
    (
        *("POST", "/relay/v1/commands/open-forward", {"target": "a:1", "listen": "0.0.0.0:0"}),
        *(403, "open-forward: listen: 0.0.0.0:0 is beyond loopback"),
    ),
    (
        *("POST", "/relay/v1/commands/open-forward", {"target": "any://", "initiator": "server"}),
        *(400, "open-forward: target: any:// is no server of the guest's"),
    ),
    (
        *("POST", "/relay/v1/commands/open-forward", {"target": "a:1", "settings": ["cut.at=1"]}),
        *(400, "open-forward: settings: cut.at=1: cut has no setting 'at'"),
    ),
    (
        *("POST", "/relay/v1/commands/close-forward", {"listen": "127.0.0.1:1"}),
        *(400, "close-forward: listen: no forward listens at 127.0.0.1:1"),
    ),
    (
        *("POST", "/relay/v1/commands/adjust-forward", {"listen": "127.0.0.1:1", "settings": []}),
        *(400, "adjust-forward: listen: no forward listens at 127.0.0.1:1"),
    ),
    (
        *("POST", "/relay/v1/commands/set-fault", {"name": "a", "side": "app", "forward": "127.0.0.1:1"}),
        *(400, "set-fault: forward: no forward listens at 127.0.0.1:1"),
    ),
    (
        *("POST", "/relay/v1/commands/set-fault", {"name": "a", "side": "app", "delay_s": -1}),
        *(400, "set-fault: delay_s: -1 is not a number from 0"),
    ),
    ("POST", "/relay/v1/commands/adjust", {"settings": ["none.such=1"]}, 400, "adjust: settings: none.such=1: "),
    ("POST", "/relay/v1/commands/adjust", {"settings": ["a"]}, 400, "adjust: settings: a: no value"),
    ("POST", "/relay/v1/commands/set-time-scale", {"scale": 0}, 400, "set-time-scale: scale: 0 is out of range"),
    ("POST", "/relay/v1/commands/advance", {"seconds": -1}, 400, "advance: seconds: -1 is out of range"),
    ("PUT", "/proxies", {}, 405, "PUT is not for this path"),
    ("DELETE", "/relay/v1/flows", {}, 405, "DELETE is not for this path"),
    ("POST", "/nowhere", {}, 404, "there is nothing at /nowhere"),
)


def test_what_cannot_be_done_says_why(client: Client, app: socket.socket) -> None:
    client.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    before = client.ask("GET", "/proxies").json
    for method, path, body, status, said in _IMPOSSIBLE:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            sent = json.dumps(body).replace("TAKEN", f"127.0.0.1:{taken.getsockname()[1]}").encode()
            answer = client.ask(method, path, sent, **_JSON)
        assert (answer.status, answer.json["status"]) == (status, status), (method, path, body, answer)
        assert answer.json["error"].startswith(said)
        assert client.ask("GET", "/proxies").json == before
        assert goes_on(app)


_STRANGERS: tuple[tuple[dict[str, str], int, str], ...] = (
    ({}, 401, "a token is needed"),
    ({"Authorization": "Bearer fedcba9876543210"}, 401, "the token is wrong"),
    ({"Authorization": f"Bearer {_TOKEN}", "Origin": "https://evil.test"}, 403, "a page of another origin, "),
    ({"Authorization": f"Bearer {_TOKEN}", "Sec_Fetch_Site": "cross-site"}, 403, "a page of another site "),
    ({"Authorization": f"Bearer {_TOKEN}", "Host": "evil.test"}, 403, "Host 'evil.test' is no name of this relay's"),
    ({"Authorization": f"Bearer {_TOKEN}", "Content_Type": "text/plain"}, 415, "Content-Type 'text/plain' changes"),
)


def test_what_may_not_steer_the_relay_gets_its_status(nat: RunningRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.handles._api.control_spec", partial(control_spec, token=_TOKEN))
    client = Client(nat.control_url)
    for headers, status, said in _STRANGERS:
        for path in ("/relay/v1/commands/link-down", "/reset"):
            answer = client.ask("POST", path, b"{}", **{**_JSON, **headers})
            assert (answer.status, answer.json["status"]) == (status, status), (headers, path, answer)
            assert answer.json["error"].startswith(said)
    assert not [record for record in nat.events if record.event == "link-down"]
    assert client.ask("POST", "/relay/v1/commands/link-down", {}, Authorization=f"Bearer {_TOKEN}").status == 200
