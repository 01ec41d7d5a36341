"""The relay dials none of its own listeners, however they are spelt: real dials tell which spellings lead there."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from relay.testing import serve_in_thread
from support.clients import Refused, connect_by_port
from support.origins import refusing_port
from support.ports import free_port
from support.programs import serve
from support.workers import pids_of

_DENIED, _UNREACHED = 403, {502, 504}
_LISTENERS = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::")
_SPELLINGS = (
    *("127.0.0.1", "127.0.0.2", "127.1", "0177.0.0.1", "0x7f000001", "2130706433", "2130706434", "0.0.0.0", "0"),
    *("localhost", "LocalHost"),
    *("::1", "::1%1", "::1%lo", "0:0::0:1", "::", "::%1", "::0.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:127.0.0.2", "::ffff:7f00:1", "::ffff:127.0.0.1%1", "::ffff:0.0.0.0"),
)


def leads_there(spelling: str, port: int) -> bool:
    """Whether a plain connection to it ends at a listener of this host."""
    with contextlib.suppress(OSError), socket.create_connection((spelling, port), timeout=5):
        return True
    return False


def answer(proxy_port: int, spelling: str, port: int, via: str = "127.0.0.1") -> int:
    """With which code the relay refuses to go there; 200 if it does not."""
    try:
        connect_by_port(proxy_port, spelling, port, front_end="http-connect", via=via).close()
    except Refused as refused:
        return refused.code
    return 200


def demand_no_way_in(proxy_port: int, port: int, spellings: tuple[str, ...], via: str = "127.0.0.1") -> set[str]:
    """Insist that no spelling of a port of the relay's own leads there through it; returns those that would."""
    own = {spelling for spelling in spellings if leads_there(spelling, port)}
    answers = {spelling: answer(proxy_port, spelling, port, via) for spelling in spellings}
    assert {spelling for spelling, code in answers.items() if code == _DENIED} >= own, answers
    assert {code for spelling, code in answers.items() if spelling not in own} <= {_DENIED, *_UNREACHED}, answers
    return own


@pytest.mark.parametrize("listen", _LISTENERS)
def test_no_spelling_of_the_proxys_own_port_leads_there(listen: str, backend: str) -> None:
    via = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)
    with serve_in_thread(backend=backend, listen=f"[{listen}]:{free_port()}", allow_open=True) as nat:
        assert via in demand_no_way_in(nat.address.port, nat.address.port, _SPELLINGS, via)


def test_no_spelling_of_a_forwards_port_leads_there(backend: str) -> None:
    with refusing_port() as target, serve_in_thread(backend=backend) as nat:
        for port in (nat.forward("127.0.0.1", target).port, nat.forward_inbound("127.0.0.1", target).port):
            assert demand_no_way_in(nat.address.port, port, _SPELLINGS)


def test_an_answer_of_our_own_leads_there_as_little(backend: str) -> None:
    with serve_in_thread(backend=backend) as nat:
        port = nat.address.port
        nat.resolve("app.test", port, "::ffff:127.0.0.1")
        assert answer(port, "app.test", port) == _DENIED


@pytest.mark.system
def test_no_worker_dials_its_own_or_anothers_listener(backend: str, tmp_path: Path) -> None:
    """They share the port, so which of them a dial would reach is the kernel's choice."""
    with serve(tmp_path, "--backend", backend, "--workers", "2") as served:
        for _ in range(4):
            assert demand_no_way_in(served.port, served.port, ("127.0.0.1", "127.1", "::ffff:127.0.0.1"))
        assert len(pids_of(served)) == 2
