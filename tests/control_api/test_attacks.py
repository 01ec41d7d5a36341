"""What attacks a control: pages of other origins, DNS rebinding, wrong tokens, bodies that are no requests."""

from __future__ import annotations

import socket
import threading
from functools import partial
from pathlib import Path

import pytest

from relay.control_api import control_spec
from relay.control_api.connection import BODY_BYTES
from relay.control_api.exchange import Refused, Request
from relay.control_api.guard import Guard
from relay.errors import ConfigError
from relay.log import EventLog
from relay.testing import RunningRelay
from support.control_client import Client

RECORDS = 60_000
"""More than a connection's buffers and a follower's queue hold together."""
_LINK_DOWN = "/relay/v1/commands/link-down"
_HERE = {"host": "127.0.0.1:8474"}
_JSON = {"content-type": "application/json", "content-length": "2"}
_FORM = {"content-type": "application/x-www-form-urlencoded"}


def passes(method: str, path: str, headers: dict[str, str], guard: Guard | None = None) -> int:
    """0, or the status of the refusal."""
    try:
        (guard or Guard()).check(Request(method, path, headers))
    except Refused as refused:
        return refused.status
    return 0


@pytest.mark.parametrize("host", ["127.0.0.1:8474", "localhost:8474", "[::1]:8474", "LOCALHOST.", "192.0.2.7", "relay"])
def test_an_address_localhost_and_a_name_that_was_given_are_this_host(host: str) -> None:
    assert passes("GET", "/version", {"host": host}, Guard(hosts=["Relay"])) == 0


@pytest.mark.parametrize(
    "host",
    ["evil.test:8474", "127.0.0.1.evil.test", "localhost.evil.test", "", "[evil.test]", "evil.test#localhost"],
)
def test_a_name_that_was_rebound_is_refused(host: str) -> None:
    for method in ("GET", "POST"):
        assert passes(method, "/relay/v1/flows", {"host": host, **_JSON}) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test", **_JSON},
        {"origin": "null", **_JSON},
        {"origin": "http://127.0.0.1:9999", **_JSON},
        {"sec-fetch-site": "cross-site", **_JSON},
        {"sec-fetch-site": "same-site", **_JSON},
        {"origin": "https://evil.test", "x-relay-control": "1"},
    ],
)
def test_a_page_of_another_origin_neither_sees_nor_steers(headers: dict[str, str]) -> None:
    assert passes("POST", _LINK_DOWN, _HERE | headers) == 403
    assert passes("GET", "/relay/v1/flows", _HERE | headers) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:8474", **_FORM},
        {"origin": "http://127.0.0.1:8474", "content-type": "text/plain", "content-length": "9"},
        {"origin": "http://127.0.0.1:8474"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"user-agent": "Mozilla/5.0", **_FORM},
        {"content-type": "text/plain", "content-length": "9"},
        {**_FORM, "transfer-encoding": "chunked"},
    ],
)
def test_a_simple_request_changes_nothing(headers: dict[str, str]) -> None:
    assert passes("POST", _LINK_DOWN, _HERE | headers) == 415
    assert passes("DELETE", "/proxies/one", _HERE | headers) == 415


@pytest.mark.parametrize(
    "headers",
    [
        {**_FORM, "content-length": "0", "user-agent": "axios/1.7"},
        {"content-length": "20", "user-agent": "Java/21"},
        {"sec-fetch-mode": "cors", "user-agent": "node"},
        {**_JSON, "user-agent": "Go-http-client/1.1"},
        {"origin": "http://127.0.0.1:8474", "sec-fetch-site": "same-origin", **_JSON},
        {"origin": "http://127.0.0.1:8474", "x-relay-control": "1"},
    ],
)
def test_programs_and_our_own_page_pass(headers: dict[str, str]) -> None:
    for method in ("POST", "PATCH", "DELETE"):
        assert passes(method, "/reset", _HERE | headers) == 0


def test_a_link_leads_to_the_page_and_not_past_a_token() -> None:
    link = _HERE | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    guard = Guard(token="a" * 16)
    assert passes("GET", "/", link, guard) == 0
    assert passes("GET", "/relay/v1/flows", link, guard) == 401
    assert passes("POST", "/", _HERE | _JSON, guard) == 401


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer aaaa", "Basic " + "a" * 16, "Bearer " + "b" * 16, "\xff"])
def test_a_wrong_token_opens_nothing(given: str) -> None:
    guard = Guard(token="a" * 16)
    for path in ("/version", "/metrics", "/proxies", "/relay/v1/events"):
        assert passes("GET", path, _HERE | {"authorization": given}, guard) == 401
        assert passes("GET", path, _HERE | {"authorization": "bearer " + "a" * 16}, guard) == 0


@pytest.mark.parametrize(
    ("headers", "said", "hint", "sent"),
    [
        (
            {"host": "evil.test"},
            "Host 'evil.test' is no name of this relay's",
            "ask for it by address, or name it: --control-host NAME",
            {},
        ),
        (
            {"origin": "https://evil.test"},
            "a page of another origin, 'https://evil.test', may not steer this relay",
            "",
            {},
        ),
        ({"sec-fetch-site": "same-site"}, "a page of another site may not steer this relay", "", {}),
        (_FORM, "a token is needed", "send Authorization: Bearer TOKEN", {"WWW-Authenticate": 'Bearer realm="relay"'}),
        (
            {"authorization": "Bearer b"},
            "the token is wrong",
            "send Authorization: Bearer TOKEN",
            {"WWW-Authenticate": 'Bearer realm="relay"'},
        ),
        (
            {"content-type": "Text/Plain; charset=utf-8", "content-length": "1"},
            "Content-Type 'text/plain' changes nothing here",
            "send JSON: application/json",
            {},
        ),
        (
            {"origin": "http://127.0.0.1:8474"},
            "Content-Type 'of none' changes nothing here",
            "send JSON: application/json",
            {},
        ),
    ],
)
def test_each_refusal_says_why_and_what_to_do(
    headers: dict[str, str], said: str, hint: str, sent: dict[str, str]
) -> None:
    with pytest.raises(Refused) as raised:
        Guard(token="a" * 16).check(Request("POST", _LINK_DOWN, _HERE | headers))
    assert (str(raised.value), raised.value.hint, raised.value.headers) == (said, hint, sent)


@pytest.mark.parametrize(
    ("headers", "passed"),
    [
        ({"content-type": "Application/JSON; charset=utf-8", "origin": "HTTP://127.0.0.1:8474"}, True),
        ({"content-type": " application/json"}, True),
        ({"sec-fetch-site": "Same-Origin", **_JSON}, True),
        ({"sec-fetch-site": "Cross-Site", "sec-fetch-mode": "navigate", **_JSON}, False),
        ({"user-agent": "MOZILLA/5.0"}, False),
        ({"content-type": "text/plain", "content-length": "0"}, True),
        ({"content-type": "text/plain"}, True),
    ],
)
def test_headers_are_read_as_browsers_and_programs_write_them(headers: dict[str, str], passed: bool) -> None:
    assert (passes("POST", _LINK_DOWN, _HERE | headers) == 0) is passed


def test_a_link_is_what_has_no_origin_and_changes_nothing() -> None:
    link = {"host": "Relay.:8474", "sec-fetch-site": "cross-site", "sec-fetch-mode": "Navigate"}
    guard = Guard(hosts=["relay."])
    assert passes("HEAD", "/", link, guard) == passes("OPTIONS", "/", link, guard) == 0
    assert passes("GET", "/", link | {"sec-fetch-mode": "cors"}, guard) == 403
    assert passes("GET", "/", link | {"origin": "http://relay.:8474"}, guard) == 403
    assert passes("GET", "/", link | {"host": "[::1"}, guard) == 0
    assert passes("GET", "/relay/page/control.js", _HERE, Guard(token="a" * 16)) == 0
    assert passes("GET", "/relay/v1", _HERE, Guard(token="a" * 16)) == 401
    assert passes("GET", "/version", {"host": "any"}, Guard(any_host=True)) == 0
    assert passes("GET", "/version", _HERE | {"authorization": "Bearer  " + "a" * 16 + " "}, Guard(token="a" * 16)) == 0


def test_beyond_loopback_a_token_is_a_must(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--control: listening on 0\.0\.0\.0:8474 without a token"):
        control_spec("0.0.0.0:8474")
    assert control_spec("0.0.0.0:8474", allow_open=True).token == ""
    file = tmp_path / "token"
    for wrong in ("", "short\n", "two words of enough\n", "two\nlines-of-a-token-file\n", "nö-ascii-but-long-enough\n"):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(ConfigError, match="no token"):
            control_spec("0.0.0.0:8474", token_file=file)
    file.write_text("0123456789abcdef\n")
    assert control_spec("0.0.0.0:8474", token_file=file).token == "0123456789abcdef"
    with pytest.raises(ConfigError, match="cannot read"):
        control_spec("0.0.0.0:8474", token_file=tmp_path / "none")


NO_REQUESTS = [
    (b"side=server", 400, "the body is no JSON"),
    (b'{"side": ', 400, "the body is no JSON"),
    (b"\xff\xfe", 400, "the body is no JSON"),
    (b'{"side": NaN}', 400, "the body is no JSON: NaN is no number in JSON"),
    (b'{"seconds": ' + b"9" * 5000 + b"}", 400, "the body is no JSON"),
    (b"[" * 10_000 + b"]" * 10_000, 400, "the body is nested deeper than 32 levels"),
    (b'{"a":' * 10_000, 400, "the body is nested deeper than 32 levels"),
    (b"[" * 40 + b"]" * 39 + b",[]]", 400, "the body is nested deeper than 32 levels"),
    (b"[]", 400, "freeze: [] is no object"),
    (b"[" + b"[{}]," * 40 + b"{}]", 400, "freeze: [[{}], [{}]"),
    (b'{"side": "app", "colour": "red"}', 400, "freeze: unknown field 'colour'"),
    (b'{"side": "\\u202e\\u0000\\n"}', 400, "freeze: side: '\\u202e\\x00\\n' is not one of"),
]


def test_a_body_that_is_no_request_gets_one_line(client: Client) -> None:
    for body, status, said in NO_REQUESTS:
        answer = client.ask("POST", "/relay/v1/commands/freeze", body, Content_Type="application/json")
        assert answer.status == answer.json["status"] == status
        assert answer.json["error"].startswith(said)
        assert "\n" not in answer.json["error"]


def test_a_body_of_100_mb_is_refused_unread(client: Client) -> None:
    with client.connect() as sock:
        head = f"POST /reset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {10**8}"
        sock.sendall(f"{head}\r\n\r\n".encode() + b"[" * 100_000)
        answer = sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"the body is larger than 1048576 bytes" in answer
    assert client.ask("GET", "/version").status == 200


def test_so_is_one_that_does_not_say_its_length(client: Client) -> None:
    with client.connect() as sock:
        sock.sendall(b"POST /reset HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n")
        sock.sendall(b"Content-Type: application/json\r\n\r\n" + f"{BODY_BYTES + 1:x}\r\n".encode())
        sock.sendall(b"[" * (BODY_BYTES + 1))
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
]


def test_no_command_opens_a_forward_for_other_hosts(client: Client) -> None:
    forward = {"listen": "0.0.0.0:0", "target": "127.0.0.1:9"}
    answer = client.ask("POST", "/relay/v1/commands/open-forward", forward)
    assert (answer.status, answer.json["error"]) == (403, "open-forward: listen: 0.0.0.0:0 is beyond loopback")
    assert answer.json["hint"] == "start the relay with --allow-open to have forwards that every host reaches"
    nowhere = client.ask("GET", "/" + "a" * 300)
    assert nowhere.json["error"] == "there is nothing at /" + "a" * 199


def test_what_is_no_http_is_answered(client: Client) -> None:
    for sent in NO_HTTP:
        with client.connect() as sock:
            sock.sendall(sent if sent.endswith(b"\n") else sent + b"\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 4")
    assert client.ask("GET", "/version").status == 200


def test_a_page_may_do_nothing_but_what_is_its_own(client: Client) -> None:
    headers = client.ask("GET", "/version").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert client.ask("OPTIONS", "/proxies", Origin="https://evil.test").status == 403


def test_a_reader_of_events_that_stands_still_is_dropped_and_others_read_on(nat: RunningRelay, client: Client) -> None:
    asked = b"GET /relay/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with client.connect() as still, client.connect() as reading:
        for sock in (still, reading):
            sock.sendall(asked)
            assert sock.recv(15) == b"HTTP/1.1 200 \r\n"
        read = 0

        def read_on() -> None:
            nonlocal read
            while read < RECORDS:
                read += reading.recv(1 << 20).count(b"}")  # each record has one

        reader = threading.Thread(target=read_on, daemon=True)
        reader.start()
        for _ in range(RECORDS // 1000):
            nat._in_loop(partial(_emit_many, nat.log))
        reader.join(20)
        assert read >= RECORDS
        assert _ends(still)
    assert client.ask("GET", "/version").status == 200


def _emit_many(log: EventLog) -> None:
    for _ in range(1000):
        log.emit("link-down")


def _ends(sock: socket.socket) -> bool:
    try:
        while sock.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
    return True
