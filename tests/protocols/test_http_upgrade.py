"""Plain http forwarding: another protocol, from `101` on."""

from __future__ import annotations

from support.exchanges import GET, GET_SENT, OK, Session

UPGRADE = (
    b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nX: 1\r\n\r\n"
)
UPGRADE_SENT = b"GET / HTTP/1.1\r\nHost: a.test\r\nX: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_after_101_both_directions_pass_as_they_are() -> None:
    session = Session(UPGRADE, b"\x81early")
    assert session.sent == UPGRADE_SENT
    session.from_origin(SWITCH + b"\x82hello")
    assert session.client == SWITCHED + b"\x82hello"
    assert session.sent == UPGRADE_SENT + b"\x81early"
    session.from_client(b"GET ", b"\x00").from_origin(b"HTTP/1.1 ", b"\xff")
    assert session.client == SWITCHED + b"\x82helloHTTP/1.1 \xff"
    assert session.sent == UPGRADE_SENT + b"\x81earlyGET \x00"


def test_after_101_each_fin_passes_by_itself() -> None:
    session = Session(UPGRADE).from_origin(SWITCH)
    assert (session.codec.wants_close, session.codec.origin_done) == (False, False)
    session.origin_eof()
    assert (session.codec.wants_close, session.codec.origin_done) == (True, False)
    assert session.from_client(b"more").sent == UPGRADE_SENT + b"more"
    session.client_eof()
    assert (session.codec.wants_close, session.codec.origin_done) == (True, True)
    session = Session(UPGRADE).from_origin(SWITCH).client_eof()
    assert (session.codec.wants_close, session.codec.origin_done) == (False, True)
    assert session.from_origin(b"more").client == SWITCHED + b"more"


def test_a_body_under_way_is_finished_before_the_client_may_speak_another_protocol() -> None:
    request = UPGRADE.replace(b"X: 1\r\n", b"Transfer-Encoding: chunked\r\n").replace(b"GET", b"POST")
    session = Session(request).from_origin(SWITCH)
    assert session.client == SWITCHED
    session.from_client(b"2\r\nab", b"\r\n0\r\n\r\nraw", b"raw")
    assert session.sent.endswith(b"\r\n\r\n2\r\nab\r\n0\r\n\r\nrawraw")


def test_an_offer_of_another_protocol_may_be_declined() -> None:
    session = Session(UPGRADE + GET).from_origin(OK)
    assert session.client == OK
    assert session.origins == [("a.test:80", UPGRADE_SENT + GET_SENT)]


def test_an_offer_of_another_protocol_is_not_mixed_with_an_end() -> None:
    assert Session(UPGRADE.replace(b"keep-alive", b"close")).sent == UPGRADE_SENT


def test_an_offer_that_connection_does_not_name_is_not_passed_on() -> None:
    assert Session(UPGRADE.replace(b", Upgrade", b"")).sent == b"GET / HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n\r\n"
    assert b"Upgrade" not in Session(UPGRADE.replace(b"1.1", b"1.0")).sent
    assert b"Connection" not in Session(UPGRADE.replace(b"Upgrade: websocket\r\n", b"")).sent
