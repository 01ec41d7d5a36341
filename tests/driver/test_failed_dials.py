"""What becomes of a dial that fails, or is late: `refusal-mapping`, `slow-dial`, and `failed` of the handshake."""

from __future__ import annotations

import pytest

from relay.events import FailureKind
from support.memory_driver import MemoryDriver, forward, proxy

CONNECT = b"CONNECT 192.0.2.80:80 HTTP/1.1\r\nHost: 192.0.2.80:80\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (FailureKind.REFUSED, "refused"),
        (FailureKind.HOST_UNREACHABLE, "unreachable"),
        (FailureKind.TIMED_OUT, "timed_out"),
    ],
)
def test_silence_is_no_answer_until_the_app_has_waited_for_long(kind: FailureKind, setting: str) -> None:
    nat = MemoryDriver("transparent", f"refusal-mapping.{setting}=silence", "refusal-mapping.silence_s=130")
    app = nat.call(proxy())
    app.says(CONNECT)
    nat.settle()
    nat.refuse(kind)
    assert nat.fields("flow-ended")["internal"] == "silence"
    nat.advance(129)
    assert (app.hears(), app.end) == (b"", "")
    nat.advance(1)
    assert (app.hears(), app.end) == (b"", "rst")


def test_a_timeout_may_be_reported_as_a_refusal() -> None:
    def heard(kind: FailureKind, *settings: str) -> bytes:
        nat = MemoryDriver("transparent", *settings)
        app = nat.call(proxy())
        app.says(CONNECT)
        nat.settle()
        nat.refuse(kind)
        return app.hears().split(b"\r\n")[0]

    mapped = "refusal-mapping.timed_out=refused"
    refused, timed_out = heard(FailureKind.REFUSED), heard(FailureKind.TIMED_OUT)
    assert refused != timed_out
    assert heard(FailureKind.TIMED_OUT, mapped) == heard(FailureKind.REFUSED, mapped) == refused


@pytest.mark.parametrize(("early", "end"), [(b"", "fin"), (b"hello", "rst")])
def test_docker_s_proxy_closes_what_it_has_accepted(early: bytes, end: str) -> None:
    settings = ("precomplete-handshake.order=internal-first", "precomplete-handshake.failed=fin")
    nat = MemoryDriver("transparent", *settings)
    app = nat.call(forward())
    if early:
        app.says(early)
        nat.settle()
    nat.refuse()
    assert (app.hears(), app.end) == (b"", end)
    assert nat.told("flow-ended") == ["flow-ended"]


def test_a_lost_syn_delays_the_dial_and_an_app_that_gives_up_ends_it() -> None:
    nat = MemoryDriver("transparent", "slow-dial.syn_share=1", "slow-dial.by_s=1")
    app = nat.call(forward())
    nat.advance(62)
    assert nat.connector.dials == []
    nat.advance(1)
    nat.answer()
    app.says(b"x")
    given_up = nat.call(forward())
    given_up.resets()
    nat.advance(200)
    assert nat.connector.dials == []
