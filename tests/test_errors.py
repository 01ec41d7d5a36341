"""What a person gets to see when something cannot go on."""

from __future__ import annotations

import pytest

from relay.errors import BehaviourError, ConfigError, ProtocolError, RelayBug, RelayError, Unsupported
from relay.events import DialFailure, FailureKind, LinkWentDown, Side


@pytest.mark.parametrize(
    ("kind", "exit_code"), [(RelayError, 1), (ConfigError, 2), (Unsupported, 3), (ProtocolError, 1), (RelayBug, 1)]
)
def test_the_kind_of_error_decides_the_exit_code(kind: type[RelayError], exit_code: int) -> None:
    assert kind("x").exit_code == exit_code


def test_a_hint_stands_beside_the_message_not_in_it() -> None:
    fault = ConfigError("--profile: unknown profile 'x'", hint="try another")
    assert (str(fault), fault.hint) == ("--profile: unknown profile 'x'", "try another")
    assert ConfigError("x").hint == ""


def test_a_protocol_error_carries_what_the_client_is_owed() -> None:
    assert ProtocolError("not SOCKS", reply=b"\x05\xff").reply == b"\x05\xff"
    assert ProtocolError("not SOCKS").reply == b""


def test_a_behaviours_error_names_the_behaviour_the_event_and_the_cause() -> None:
    fault = BehaviourError("reminder", LinkWentDown(1.0), ValueError("no"))
    assert str(fault) == "behaviour 'reminder' failed on LinkWentDown: ValueError: no"
    assert fault.behaviour == "reminder"


def test_a_dials_failure_reads_as_one_line() -> None:
    assert str(DialFailure(FailureKind.REFUSED)) == "refused"
    assert str(DialFailure(FailureKind.OTHER, "EPROTO")) == "failed (EPROTO)"


def test_each_side_is_the_others_other() -> None:
    assert [side.other for side in Side] == [Side.EXTERNAL, Side.INTERNAL]
