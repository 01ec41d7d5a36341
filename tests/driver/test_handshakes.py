"""From a connection that comes in to one that is carried, or is not: without a socket."""

from __future__ import annotations

import errno

import pytest

from relay.address import Endpoint, ResolveOverride
from relay.events import FailureKind, Side
from relay.frontends import PendingConnection
from relay.legs import Leg
from relay.testing import memory_pair
from relay.testing._memory_leg import WINDOW_BYTES
from support.memory_driver import SERVER, End, MemoryConnector, MemoryDriver, forward, proxy

SOCKS5_HELLO = b"\x05\x01\x00"
SOCKS5_CONNECT = b"\x05\x01\x00\x01\xc0\x00\x02\x50\x00\x50"  # to 192.0.2.80, port 80
SOCKS5_GRANTED = b"\x05\x00\x00\x01"


def ask_by_socks5(nat: MemoryDriver, early: bytes = b"") -> End:
    app = nat.call(proxy())
    app.says(SOCKS5_HELLO + SOCKS5_CONNECT + early)
    nat.settle()
    return app


def test_a_forward_is_dialled_at_once_and_carries_both_ways() -> None:
    nat = MemoryDriver()
    app = nat.call(forward())
    assert [dial.destination for dial in nat.connector.dials] == [SERVER]
    server = nat.answer()
    app.says(b"question")
    server.says(b"answer")
    nat.settle()
    assert (server.hears(), app.hears()) == (b"question", b"answer")
    assert nat.told() == ["flow-opened", "flow-connected"]


def test_socks5_is_granted_when_the_destination_is_connected_and_not_before() -> None:
    nat = MemoryDriver()
    app = ask_by_socks5(nat)
    assert app.hears() == b"\x05\x00"
    nat.answer()
    assert app.hears()[:4] == SOCKS5_GRANTED
    assert nat.fields("flow-opened")["via"] == "socks5"


def test_a_request_that_trickles_in_is_the_same_request() -> None:
    nat = MemoryDriver()
    app = nat.call(proxy())
    for byte in SOCKS5_HELLO + SOCKS5_CONNECT:
        app.says(bytes([byte]))
        nat.settle()
    assert [dial.destination for dial in nat.connector.dials] == [SERVER]


def test_a_refusal_that_falls_into_a_freeze_is_read_after_it() -> None:
    nat = MemoryDriver()
    app = ask_by_socks5(nat)
    app.hears()
    nat.driver.freeze(Side.INTERNAL)
    nat.refuse()
    assert not nat.driver.flows
    assert app.hears() == b""
    nat.driver.thaw(Side.INTERNAL)
    nat.settle()
    assert (app.hears()[:2], app.end) == (b"\x05\x05", "fin")


@pytest.mark.parametrize(
    ("kind", "code"), [(FailureKind.REFUSED, 5), (FailureKind.HOST_UNREACHABLE, 4), (FailureKind.TIMED_OUT, 6)]
)
def test_a_refusal_comes_in_the_protocols_words_and_then_a_fin(kind: FailureKind, code: int) -> None:
    nat = MemoryDriver()
    app = ask_by_socks5(nat)
    nat.refuse(kind)
    assert (app.hears()[2:4], app.end) == (bytes([5, code]), "fin")
    ending = nat.fields("flow-ended")
    assert (ending["because"], ending["internal"], ending["external"]) == ("destination", "refused", None)


def test_a_forward_can_only_be_refused_by_a_reset() -> None:
    nat = MemoryDriver()
    app = nat.call(forward())
    nat.refuse()
    assert (app.hears(), app.end) == (b"", "rst")


@pytest.mark.parametrize("order", ["lockstep", "external-first", "internal-first"])
def test_the_profile_says_which_handshake_completes_first(order: str) -> None:
    nat = MemoryDriver("transparent", f"precomplete-handshake.order={order}")
    app = ask_by_socks5(nat)
    granted_first = SOCKS5_GRANTED in app.hears()
    assert granted_first == (order == "internal-first")
    nat.answer()
    assert (SOCKS5_GRANTED in app.hears()) != granted_first


def test_an_app_that_resets_while_it_is_dialled_takes_a_lockstep_dial_along() -> None:
    nat = MemoryDriver()
    app = ask_by_socks5(nat)
    app.resets()
    nat.settle()
    assert nat.connector.dials[0].abandoned
    assert nat.told("initiator-vanished", "dial-abandoned", "flow-ended") == [
        "initiator-vanished",
        "dial-abandoned",
        "flow-ended",
    ]


def test_a_dial_whose_leg_was_given_up_for_want_of_room_is_over_in_any_profile() -> None:
    nat = MemoryDriver("vmware-fusion")
    app = nat.call(forward())
    (flow,) = nat.driver.flows.values()
    flow.initiator_leg.broken = errno.ENOBUFS
    app.resets()
    nat.settle()
    assert nat.connector.dials[0].abandoned
    assert nat.fields("flow-ended")["because"] == "no-room"


def test_vmware_completes_the_handshake_of_an_app_that_is_gone_and_ends_it_with_a_fin() -> None:
    """September 2017: a lone SYN from the guest makes the host complete all three steps with the server."""
    nat = MemoryDriver("vmware-fusion")
    app = ask_by_socks5(nat)
    app.resets()
    nat.settle()
    server = nat.answer()
    assert (server.hears(), server.end) == (b"", "fin")


def test_a_fin_behind_the_request_is_no_reset() -> None:
    nat = MemoryDriver()
    app = ask_by_socks5(nat)
    app.finishes()
    nat.settle()
    server = nat.answer()
    assert app.hears()[2:6] == SOCKS5_GRANTED
    assert (server.hears(), server.end) == (b"", "fin")
    server.says(b"still answered")
    nat.settle()
    assert app.hears() == b"still answered"


def test_early_data_comes_first_and_in_order() -> None:
    nat = MemoryDriver()
    app = ask_by_socks5(nat, early=b"one ")
    app.says(b"two ")
    nat.settle()
    server = nat.answer()
    app.says(b"three")
    nat.settle()
    assert server.hears() == b"one two three"


def test_no_more_early_data_is_taken_than_there_is_room_for() -> None:
    nat = MemoryDriver()
    app = nat.call(forward())
    much = bytes(range(256)) * 1024
    app.says(much)
    nat.settle()
    early_bytes = 64 * 1024
    assert app.leg.unacked_bytes() == len(much) - early_bytes - WINDOW_BYTES, "the app's window has closed"
    server = nat.answer()
    heard = b""
    while len(heard) < len(much):
        heard += server.hears()
        nat.settle()
    assert heard == much


def test_the_dialler_that_came_last_opens_what_it_reaches_and_the_others_the_rest() -> None:
    guest = Endpoint("192.0.2.1", 22)

    class ToGuest(MemoryConnector):
        def reaches(self, destination: Endpoint, side: Side) -> bool:
            return (destination, side) == (guest, Side.INTERNAL)

    nat, to_guest = MemoryDriver(), ToGuest()
    nat.driver.dial_through(to_guest)
    for initiator in Side:
        nat.call(forward(initiator, guest))
    assert [(dial.destination, dial.side) for dial in to_guest.dials] == [(guest, Side.INTERNAL)]
    assert [(dial.destination, dial.side) for dial in nat.connector.dials] == [(guest, Side.EXTERNAL)]


def test_an_answer_of_the_relays_own_holds_wherever_names_are_answered() -> None:
    class Names(MemoryConnector):
        def __init__(self) -> None:
            super().__init__()
            self.overrides: list[ResolveOverride] = []

        def resolve_as(self, override: ResolveOverride) -> None:
            self.overrides.append(override)

    override, names = ResolveOverride("api.test", 80, "127.0.0.1"), [Names(), Names()]
    nat = MemoryDriver()
    nat.driver._names[:] = names[:1]
    nat.driver.share_names(names[1])
    nat.driver.resolve_as(override)
    assert [each.overrides for each in names] == [[override]] * 2


def test_a_client_that_says_nothing_is_turned_away_at_the_handshakes_limit() -> None:
    nat = MemoryDriver(handshake_timeout_s=10.0)
    app = nat.call(proxy())
    nat.advance(9.9)
    assert (app.hears(), app.end) == (b"", "")
    nat.advance(0.2)
    assert (app.hears(), app.end) == (b"", "fin")
    assert nat.fields("handshake-failed")["reason"] == "no request within 10 s"
    assert not nat.driver.flows


def test_what_is_no_protocol_is_answered_and_ended() -> None:
    nat = MemoryDriver()
    app = nat.call(proxy())
    app.says(b"GARBAGE / nonsense\r\n\r\n")
    nat.settle()
    assert app.hears().startswith(b"HTTP/1.1 400 ")
    assert app.end == "fin"
    assert nat.told() == ["handshake-failed", "fin-sent", "flow-ended"]


def test_beyond_max_flows_a_client_is_refused_in_its_protocol_and_a_forward_reset() -> None:
    nat = MemoryDriver(max_flows=1)
    first = nat.call(forward())
    nat.answer()
    surplus = ask_by_socks5(nat)
    assert (surplus.hears(), surplus.end) == (b"\x05\x00" + b"\x05\x01" + bytes([0, 1, 0, 0, 0, 0, 0, 0]), "fin")
    other = nat.call(forward())
    assert (other.hears(), other.end) == (b"", "rst")
    assert nat.told("flow-refused") == ["flow-refused"] * 2
    first.says(b"undisturbed")
    nat.settle()
    assert nat.told("fault") == []


def test_what_asked_by_other_means_is_granted_or_refused_like_any_other() -> None:
    """A front end without a conversation: its pending connection is all that the driver knows of it."""

    class Knock:
        initiator, via, destination, early_data, codec = Side.INTERNAL, "knock", SERVER, b"early", None

        def __init__(self) -> None:
            self.peer, self.leg = memory_pair(nat.loop)
            self.answers: list[object] = []

        def grant(self, bound: Endpoint | None) -> None:
            self.answers.append(bound)

        def refuse(self, failure: object) -> None:
            self.answers.append(failure)

        def send_through(self, leg: Leg) -> None:
            raise AssertionError("it has a plain shape")

        def ignore(self, *, once: bool) -> None:
            self.answers.append(None)

        def next_request(self) -> PendingConnection:
            raise AssertionError("it has one destination")

    nat = MemoryDriver()
    granted, refused = Knock(), Knock()
    nat.driver.take(granted)
    nat.driver.take(refused)
    server = nat.answer()
    nat.refuse()
    assert granted.answers == [server.leg.peer]
    assert server.hears() == b"early"
    assert [getattr(answer, "kind", None) for answer in refused.answers] == [FailureKind.REFUSED]
