"""The HTTP proxy's first request: what it asks for, and how it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.events import DialFailure, FailureKind
from relay.protocols import Connect, Credentials, open_handshake

OutcomeOf = Callable[..., Any]
ALICE = Credentials("alice", "wönder")
BASIC = b"YWxpY2U6d8O2bmRlcg=="  # alice:wönder


def status_of(reply: bytes) -> int:
    """The status; and the reply is a whole response that ends the connection."""
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"Content-Type: text/plain" in head
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in head
    assert b"Proxy-Status: vmnat-relay; error=" in head
    assert head.endswith(b"\r\nConnection: close")
    return int(head.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("target", "destination"),
    [
        (b"a.test:443", "a.test:443"),
        (b"127.0.0.1:1", "127.0.0.1:1"),
        (b"[::1]:443", "[::1]:443"),
        (b"[2001:DB8:0::1]:65535", "[2001:db8::1]:65535"),
    ],
)
@pytest.mark.parametrize("rest", [b" HTTP/1.1\r\nHost: a.test\r\n\r\n", b" HTTP/1.0\r\n\r\n", b" HTTP/1.0\n\n"])
def test_connect_asks_for_a_tunnel(target: bytes, rest: bytes, destination: str, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(b"CONNECT " + target + rest + b"\x16\x03early")
    assert outcome == (b"", destination, "http-connect", b"\x16\x03early", None)


@pytest.mark.parametrize(
    ("target", "destination"),
    [
        (b"http://a.test/", "a.test:80"),
        (b"http://a.test", "a.test:80"),
        (b"http://a.test?q", "a.test:80"),
        (b"HTTP://a.test:8080/p?q#f", "a.test:8080"),
        (b"http://a.test:/", "a.test:80"),
        (b"http://[::1]/", "[::1]:80"),
        (b"http://[::1]:8080/", "[::1]:8080"),
        (b"http://user:pa@ss@a.test/", "a.test:80"),
    ],
)
def test_the_absolute_form_asks_for_an_exchange(target: bytes, destination: str, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(b"GET " + target + b" HTTP/1.1\r\nHost: b.test\r\n\r\n")
    assert outcome == (b"", destination, "http", b"", None)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (b"CONNECT a.test HTTP/1.0", b"no port"),
        (b"CONNECT a.test: HTTP/1.0", b"no port"),
        (b"CONNECT :443 HTTP/1.0", b"neither a name nor an address"),
        (b"CONNECT ::1:443 HTTP/1.0", b"brackets"),
        (b"CONNECT [::1:443 HTTP/1.0", b"brackets"),
        (b"CONNECT [1.2.3.4]:443 HTTP/1.0", b"neither a name nor an address"),
        (b"CONNECT a.test:0 HTTP/1.0", b"port 0"),
        (b"CONNECT a.test:65536 HTTP/1.0", b"port 65536"),
        (b"CONNECT a.test:" + b"9" * 5000 + b" HTTP/1.0", b"a port is 1 to 65535"),
        (b"CONNECT a.test:x HTTP/1.0", b"host:port"),
        (b"CONNECT a%20b:443 HTTP/1.0", b"neither a name nor an address"),
        (b"CONNECT http://a.test/ HTTP/1.0", b"host:port"),
        (b"GET / HTTP/1.0", b"this is a proxy"),
        (b"GET * HTTP/1.0", b"this is a proxy"),
        (b"GET a.test:80 HTTP/1.0", b"this is a proxy"),
        (b"GET https://a.test/ HTTP/1.0", b"CONNECT"),
        (b"GET ftp://a.test/ HTTP/1.0", b"only http://"),
        (b"GET http:///path HTTP/1.0", b"neither a name nor an address"),
        (b"GET http://a.test:http/ HTTP/1.0", b"host:port"),
        (b"PRI * HTTP/2.0", b"this is a proxy"),
        (b"GET http://a.test/ HTTP/1.1", b"Host"),  # RFC 9112 section 3.2
        (b"GET http://a.test/ HTTP/1.0\r\nHost: a\r\nHost: b", b"Host"),
        (b"GET http://a.test/ HTTP/1.0\r\nno colon", b"illegal header line"),
        (b"GET http://a.test/ HTTP/1.0\r\nContent-Length: x", b"Content-Length"),
        (b"POST http://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", b"in doubt"),
        (b"POST http://a.test/ HTTP/1.0\r\nTransfer-Encoding: chunked", b"in doubt"),
        (b"GET http://a.test/\x00 HTTP/1.0", b"illegal request line"),
    ],
)
def test_a_request_that_cannot_be_served_is_answered_with_the_reason(
    line: bytes, hint: bytes, converse: OutcomeOf
) -> None:
    reply = converse([line + b"\r\n\r\n"]).reply
    assert status_of(reply) == 400
    assert hint in reply.partition(b"\r\n\r\n")[2]


def test_an_https_url_is_answered_with_what_to_set_in_the_client(converse: OutcomeOf) -> None:
    reply = converse([b"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"]).reply
    assert status_of(reply) == 400
    body = reply.partition(b"\r\n\r\n")[2].decode()
    for hint in ("by CONNECT", "HTTPS_PROXY", 'proxies["https"]', "http://HOST:PORT of this relay"):
        assert hint in body
    assert body.count("\n") == 1


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT a.test HTTP/1.0\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n"]
)
def test_a_refusal_is_the_same_however_the_request_was_cut(data: bytes, outcome_of: OutcomeOf) -> None:
    assert status_of(outcome_of(data).reply) == 400


def test_another_protocol_is_answered_after_its_first_line(converse: OutcomeOf) -> None:
    reply = converse([b"SSH-2.0-OpenSSH_9.9\r\n"]).reply
    assert b"'SSH-2.0-OpenSSH_9.9' is not an HTTP request line" in reply


def test_an_unknown_transfer_coding_is_not_implemented(converse: OutcomeOf) -> None:
    request = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    assert status_of(converse([request]).reply) == 501


def test_a_request_line_may_have_8192_bytes_and_no_more(converse: OutcomeOf) -> None:
    longest = b"GET http://a.test/" + b"p" * (8192 - 27) + b" HTTP/1.0"
    assert len(longest) == 8192
    assert converse([longest + b"\r\n\r\n"]).destination == "a.test:80"
    assert converse([longest + b"\r"]).reply is None
    assert status_of(converse([b"GET " + longest[3:] + b"x\r\n\r\n"]).reply) == 414
    assert status_of(converse([b"G" * 8194]).reply) == 414
    assert converse([b"G" * 8193]).reply is None


@pytest.mark.parametrize("size", [100_000, 1_000_000])
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_header_section_over_64_kib_is_refused_complete_or_not(size: int, end: bytes, converse: OutcomeOf) -> None:
    assert status_of(converse([b"GET http://a.test/ HTTP/1.0\r\nA: " + b"x" * size + end]).reply) == 431


def test_a_header_section_of_64_kib_is_taken(converse: OutcomeOf) -> None:
    start = b"GET http://a.test/ HTTP/1.0\r\n"
    fields = b"A: " + b"x" * (64 * 1024 - 8) + b"\r\n\r\n"
    assert len(fields) == 64 * 1024 - 1
    assert converse([start, fields[:-1], b"\n"]).destination == "a.test:80"
    assert status_of(converse([start + b"B" + fields]).reply) == 431


def test_a_megabyte_of_header_is_answered_before_it_has_come() -> None:
    handshake = open_handshake(b"GET http://a.test/ HTTP/1.0\r\nA: ", None)
    received, reply = 0, b""
    while received < 1_000_000 and not reply:
        handshake.receive_data(b"x" * 100)
        received += 100
        try:
            handshake.next_event()
        except ProtocolError as error:
            reply = error.reply
    assert received < 70_000
    assert status_of(reply) == 431


def test_a_head_has_256_fields_and_no_more(converse: OutcomeOf) -> None:
    head = b"GET http://a.test/ HTTP/1.0\r\n" + b"a: b\r\n" * 256
    assert converse([head + b"\r\n"]).destination == "a.test:80"
    assert status_of(converse([head + b"a: b\r\n\r\n"]).reply) == 431


@pytest.mark.parametrize("method", [b"CONNECT a.test:443", b"GET http://a.test/"])
@pytest.mark.parametrize(
    ("header", "right"),
    [
        (b"Proxy-Authorization: Basic " + BASIC, True),
        (b"proxy-authorization:basic   " + BASIC, True),
        (b"Proxy-Authorization: Basic eDp5\r\nProxy-Authorization: Basic " + BASIC, True),
        (b"Proxy-Authorization: Basic YWxpY2U6", False),
        (b"Proxy-Authorization: Basic YWxpY2U", False),
        (b"Proxy-Authorization: Basic", False),
        (b"Proxy-Authorization: Basic !!!!", False),
        (b"Proxy-Authorization: Bearer " + BASIC, False),
        (b"Authorization: Basic " + BASIC, False),
    ],
)
def test_credentials_are_asked_for(header: bytes, right: bool, method: bytes, outcome_of: OutcomeOf) -> None:
    request = method + b" HTTP/1.0\r\n" + header + b"\r\n\r\n"
    outcome = outcome_of(request, ALICE)
    if right:
        assert outcome.destination.startswith("a.test:")
    else:
        assert status_of(outcome.reply) == 407
        assert b'\r\nProxy-Authenticate: Basic realm="relay"\r\n' in outcome.reply


def test_credentials_that_are_not_required_are_no_obstacle(converse: OutcomeOf) -> None:
    assert converse([b"CONNECT a:1 HTTP/1.0\r\nProxy-Authorization: Basic !\r\n\r\n"]).destination == "a:1"


def test_the_answer_to_a_head_has_no_body(converse: OutcomeOf) -> None:
    reply = converse([b"HEAD http://a.test/ HTTP/1.0\r\n\r\n"], ALICE).reply
    assert reply.startswith(b"HTTP/1.1 407 ")
    assert reply.endswith(b"\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 46\r\n" in reply


@pytest.mark.parametrize("rest", [b"\r\n", b"a: b\r\n" * 20_000], ids=["no Host", "too many fields"])
def test_nor_has_the_answer_to_a_head_that_cannot_be_read(rest: bytes, converse: OutcomeOf) -> None:
    reply = converse([b"HEAD http://a.test/ HTTP/1.1\r\n" + rest]).reply
    assert reply.startswith(b"HTTP/1.1 4")
    assert reply.endswith(b"\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("bound", [None, Endpoint("192.0.2.7", 1)])
def test_a_tunnel_is_granted_without_a_length(bound: Endpoint | None) -> None:
    handshake = open_handshake(b"CONNECT a.test:443 HTTP/1.0\r\n\r\n", None)
    assert handshake.next_event() == Connect(Endpoint("a.test", 443))
    assert handshake.grant(bound) == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert handshake.codec is None


def test_plain_http_is_granted_without_a_reply() -> None:
    handshake = open_handshake(b"GET http://a.test/ HTTP/1.0\r\n\r\n", None)
    assert handshake.next_event() == Connect(Endpoint("a.test", 80))
    assert handshake.grant(Endpoint("192.0.2.7", 1)) == b""
    assert handshake.codec is not None


@pytest.mark.parametrize("first_line", [b"CONNECT 127.0.0.1:9 HTTP/1.0", b"GET http://127.0.0.1:9/ HTTP/1.0"])
@pytest.mark.parametrize(
    ("kind", "status", "error", "phrase"),
    [
        (FailureKind.REFUSED, 502, b"connection_refused", b"connection refused"),
        (FailureKind.NETWORK_UNREACHABLE, 502, b"destination_ip_unroutable", b"network unreachable"),
        (FailureKind.HOST_UNREACHABLE, 502, b"destination_ip_unroutable", b"host unreachable"),
        (FailureKind.TIMED_OUT, 504, b"connection_timeout", b"connection timed out"),
        (FailureKind.NOT_RESOLVED, 502, b"dns_error", b"name not resolved"),
        (FailureKind.DENIED, 403, b"http_request_denied", b"denied by the relay"),
        (FailureKind.EXHAUSTED, 503, b"connection_limit_reached", b"the relay is out of resources"),
        (FailureKind.OTHER, 502, b"destination_unavailable", b"connection failed"),
    ],
)
def test_a_refusal_says_why(first_line: bytes, kind: FailureKind, status: int, error: bytes, phrase: bytes) -> None:
    handshake = open_handshake(first_line + b"\r\n\r\n", None)
    handshake.next_event()
    reply = handshake.refuse(DialFailure(kind))
    assert status_of(reply) == status
    assert b"\r\nProxy-Status: vmnat-relay; error=" + error + b"\r\n" in reply
    assert reply.endswith(b"\r\n\r\n" + phrase + b": 127.0.0.1:9\n")


def test_a_refusals_detail_is_passed_on() -> None:
    handshake = open_handshake(b"CONNECT a.test:9 HTTP/1.0\r\n\r\n", None)
    handshake.next_event()
    reply = handshake.refuse(DialFailure(FailureKind.OTHER, "EPROTO\udcff"))
    assert reply.endswith(b"\r\n\r\nconnection failed: a.test:9 (EPROTO?)\n")
    assert status_of(reply) == 502


def test_every_kind_of_failure_has_a_response() -> None:
    handshake = open_handshake(b"CONNECT a.test:9 HTTP/1.0\r\n\r\n", None)
    handshake.next_event()
    for kind in FailureKind:
        assert status_of(handshake.refuse(DialFailure(kind))) >= 400
