"""Plain http forwarding: FIN from the client."""

from __future__ import annotations

import pytest

from support.exchanges import GET, GET_SENT, OK, POST_10, Session


def test_a_clients_fin_is_passed_on_when_all_its_requests_are() -> None:
    session = Session(GET + GET).client_eof()
    assert not session.codec.origin_done
    session.from_origin(OK)
    assert session.codec.origin_done
    assert not session.codec.wants_close
    session.from_origin(OK)
    assert session.client == OK * 2
    assert session.codec.wants_close


def test_a_clients_fin_between_requests_ends_everything() -> None:
    session = Session(GET).from_origin(OK)
    assert not session.codec.origin_done
    assert not session.codec.wants_close
    session.client_eof()
    assert session.codec.origin_done
    assert session.codec.wants_close


def test_a_clients_fin_within_a_head_ends_everything() -> None:
    session = Session(GET).from_origin(OK).from_client(GET[:20]).client_eof()
    assert session.codec.wants_close
    assert session.codec.origin_done
    assert session.sent == GET_SENT


def test_a_clients_fin_before_the_connection_does_not_lose_the_request() -> None:
    session = Session(GET, connect=False)
    assert session.codec.client_eof() == b""
    assert not session.codec.origin_done
    session.connect()
    assert session.sent == GET_SENT
    assert session.codec.origin_done
    assert session.from_origin(OK).client == OK
    assert session.codec.wants_close


@pytest.mark.parametrize("early", [True, False])
def test_a_clients_fin_within_a_body_leaves_the_response_to_come(early: bool) -> None:
    session = Session(POST_10)
    if early:
        session.from_origin(OK).client_eof()
    else:
        session.client_eof()
        assert session.codec.origin_done
        assert not session.codec.wants_close
        session.from_origin(OK)
    assert session.client == OK
    assert session.codec.wants_close
    assert session.codec.origin_done


@pytest.mark.parametrize("connect", [True, False])
def test_a_clients_fin_within_a_chunks_header_leaves_nothing_to_wait_for(connect: bool) -> None:
    post = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2"
    session = Session(post, connect=connect)
    assert session.codec.client_eof() == b""
    session.connect()
    assert session.sent.endswith(b"\r\n\r\n1\r\nx\r\n")
    assert session.codec.origin_done
    assert session.from_origin(OK).client == OK
    assert session.codec.wants_close
