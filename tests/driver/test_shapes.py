"""Faults of one direction, through a driver without a socket: what is late, in which order, and what ends."""

from __future__ import annotations

import itertools

import pytest

from relay.events import Side
from support.memory_driver import End, MemoryDriver, forward, proxy

_ASKED = {
    "socks4": (bytes([4, 1, 0, 80, 192, 0, 2, 80, 0]),),
    "socks5": (bytes([5, 1, 0]), bytes([5, 1, 0, 1, 192, 0, 2, 80, 0, 80])),
    "http-connect": (b"CONNECT 192.0.2.80:80 HTTP/1.1\r\nHost: 192.0.2.80:80\r\n\r\n",),
    "http": (b"GET http://192.0.2.80/ HTTP/1.1\r\nHost: 192.0.2.80\r\n\r\n",),
}
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def connected(*settings: str) -> tuple[MemoryDriver, End, End]:
    nat = MemoryDriver("transparent", *settings)
    app = nat.call(forward())
    return nat, app, nat.answer()


@pytest.mark.parametrize(
    ("direction", "to_server_s", "to_app_s"), [("both", 1.0, 1.0), ("to-server", 1.0, 0.0), ("to-app", 0.0, 1.0)]
)
def test_latency_delays_the_way_that_it_says(direction: str, to_server_s: float, to_app_s: float) -> None:
    nat, app, server = connected("latency.delay_s=1", f"latency.direction={direction}")
    app.says(b"request")
    server.says(b"greeting")
    nat.advance(0.5)
    assert (server.hears(), app.hears()) == (b"" if to_server_s else b"request", b"" if to_app_s else b"greeting")
    nat.advance(0.6)
    assert (server.hears(), app.hears()) == (b"request" if to_server_s else b"", b"greeting" if to_app_s else b"")


def test_bytes_count_once_they_are_sent_on_and_in_the_end_those_that_will_be() -> None:
    nat, app, server = connected("latency.delay_s=1", "latency.direction=to-app")
    (flow,) = nat.driver.flows.values()
    app.says(b"request")
    server.says(b"answer")
    nat.advance(0.5)
    server.says(b"more")
    nat.settle()
    assert flow.carried_bytes == (7, 0)
    nat.advance(0.6)
    assert flow.carried_bytes == (7, 6)
    app.finishes()
    server.finishes()
    nat.settle()
    ended = nat.records[-1]
    assert (ended.event, ended.carried, ended.fields["bytes_in"]) == ("flow-ended", (7, 10), 10)
    nat.advance(1)
    assert app.hears() == b"answermore"


def test_bytes_that_were_on_their_way_to_a_side_that_has_reset_do_not_count() -> None:
    nat, app, server = connected("latency.delay_s=1")
    server.says(b"answer")
    nat.settle()
    app.resets()
    nat.advance(2)
    assert nat.fields("flow-ended")["bytes_in"] == 0
    assert server.hears() == b""


@pytest.mark.parametrize("via", ["forward", "inbound", "socks4", "socks5", "http-connect", "http"])
def test_latency_holds_however_the_flow_was_asked_for(via: str) -> None:
    nat = MemoryDriver("transparent", "latency.delay_s=1", "latency.direction=to-app")
    if via in {"forward", "inbound"}:
        initiator = nat.call(forward(Side.INTERNAL if via == "forward" else Side.EXTERNAL))
        other = nat.answer()
    else:
        initiator = nat.call(proxy())
        for said in _ASKED[via]:
            initiator.says(said)
            nat.settle()
        other = nat.answer()
        nat.settle()
        initiator.hears()
    app, server = (other, initiator) if via == "inbound" else (initiator, other)
    nat.settle()
    server.hears()
    server.says(_OK)
    nat.advance(0.9)
    assert app.hears() == b""
    nat.advance(0.2)
    assert app.hears() == _OK


def test_an_end_comes_behind_the_delayed_bytes_on_either_side() -> None:
    nat, app, server = connected("latency.delay_s=1")
    app.says(b"request")
    app.finishes()
    nat.advance(0.9)
    assert (server.hears(), server.end) == (b"", "")
    nat.advance(0.2)
    assert (server.hears(), server.end) == (b"request", "fin")
    server.says(b"answer")
    nat.settle()
    server.resets()
    nat.advance(0.9)
    assert (app.hears(), app.end) == (b"", "")
    nat.advance(0.2)
    assert (app.hears(), app.end) == (b"answer", "rst")
    assert nat.fields("flow-ended")["bytes_in"] == len(b"answer")
    assert nat.driver.flows == {}


def test_early_data_is_late_as_well() -> None:
    nat = MemoryDriver("transparent", "latency.delay_s=1")
    app = nat.call(forward())
    app.says(b"early")
    nat.settle()
    server = nat.answer()
    assert server.hears() == b""
    nat.advance(1.1)
    assert server.hears() == b"early"


def test_bandwidth_and_latency_are_one_shape() -> None:
    nat, app, server = connected(
        "latency.delay_s=1", "bandwidth.rate_bytes_per_s=1000", "bandwidth.direction=to-server"
    )
    app.says(bytes(10_000))
    nat.advance(1.0)
    assert 0 < len(server.hears()) <= 512
    nat.advance(5.0)
    assert 4_400 <= len(server.hears()) <= 5_600
    nat.advance(5.0)
    assert len(server.hears()) > 3_000


def test_slices_reach_the_peer_one_by_one() -> None:
    nat, app, server = connected("slicer.slice_bytes=3", "slicer.pause_s=0.5", "slicer.direction=to-server")
    app.says(b"abcdefgh")
    got = []
    for _ in range(4):
        nat.advance(0.01)
        got.append(server.hears())
        nat.advance(0.49)
    assert got == [b"abc", b"def", b"gh", b""]


def test_slow_close_delays_the_end_alone() -> None:
    nat, app, server = connected("slow-close.delay_s=5")
    app.says(b"request")
    app.finishes()
    nat.settle()
    assert (server.hears(), server.end) == (b"request", "")
    nat.advance(4.9)
    assert (server.hears(), server.end) == (b"", "")
    nat.advance(0.2)
    assert (server.hears(), server.end) == (b"", "fin")


@pytest.mark.parametrize(("ends", "heard"), [("fin", "fin"), ("rst", "rst"), ("silence", "")])
def test_limit_data_ends_the_connection_behind_the_last_byte(ends: str, heard: str) -> None:
    nat, app, server = connected("limit-data.after_bytes=5", f"limit-data.internal={ends}")
    server.says(b"abc")
    nat.settle()
    assert (app.hears(), app.end) == (b"abc", "")
    server.says(b"defg")
    nat.advance(0.1)
    assert (app.hears(), app.end) == (b"de", heard)
    ended = nat.fields("flow-ended")
    assert (ended["because"], ended["internal_because"], ended["bytes_in"]) == ("limit-data", "limit-data", 5)


@pytest.mark.parametrize(("how", "heard"), [("fin", "fin"), ("rst", "rst"), ("stall", "")])
def test_a_cut_at_a_request_lets_that_request_pass_and_nothing_of_its_answer(how: str, heard: str) -> None:
    nat, app, server = connected("cut.at_request=2", f"cut.how={how}")
    server.says(b"greeting")  # it answers nothing
    for number in (b"1", b"2"):
        app.says(b"request " + number)
        nat.settle()
        assert server.hears() == b"request " + number
        server.says(b"answer " + number)
        nat.settle()
    assert (app.hears(), app.end) == (b"greetinganswer 1", heard)
    assert (server.hears(), server.end) == (b"", heard)
    assert nat.fields("note") == {"text": f"{how} at request 2", "because": "cut"}
    if how != "stall":
        assert nat.fields("flow-ended")["because"] == "cut"


def test_a_request_that_came_before_the_connection_is_counted() -> None:
    nat = MemoryDriver("transparent", "cut.at_request=1")
    app = nat.call(forward())
    app.says(b"early")
    nat.settle()
    server = nat.answer()
    assert (server.hears(), server.end) == (b"early", "rst")
    assert nat.driver.flows == {}


def test_a_request_of_several_pieces_is_one_and_watches_of_idleness_see_them() -> None:
    nat, app, server = connected("cut.at_request=2", "idle-timeout.after_s=5", "idle-timeout.counts=data")
    for _ in range(4):
        app.says(b"piece")
        nat.advance(3)
    assert (server.hears(), server.end) == (b"piece" * 4, "")
    server.says(b"answer")
    nat.advance(3)
    app.says(b"next")
    nat.settle()
    assert (server.hears(), server.end) == (b"next", "rst")


def test_after_some_bytes_a_stalled_cut_keeps_both_sides_connected() -> None:
    nat, app, server = connected("cut.after_bytes=5", "cut.how=stall")
    server.says(b"abcdefg")
    nat.settle()
    app.says(b"request")
    app.finishes()
    nat.advance(1000)
    assert (app.hears(), app.end) == (b"abcde", "")
    assert (server.hears(), server.end) == (b"", "")
    assert len(nat.driver.flows) == 1


def test_a_cut_by_age_comes_while_bytes_flow() -> None:
    nat, app, server = connected("cut.after_s=2")
    for _ in range(19):
        server.says(b"x")
        nat.advance(0.1)
    assert (app.hears(), app.end) == (b"x" * 19, "")
    nat.advance(0.2)
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "rst")


def test_a_fault_of_one_flow_leaves_an_idle_sibling_alone() -> None:
    nat, app, server = connected("latency.delay_s=1")
    other = nat.call(forward())
    nat.answer()
    app.resets()
    nat.advance(2)
    assert (server.hears(), server.end) == (b"", "rst")
    assert (other.hears(), other.end) == (b"", "")


def test_answers_of_plain_http_stay_in_order_when_the_next_origin_cannot_be_reached() -> None:
    nat = MemoryDriver("transparent", "latency.delay_s=1", "latency.direction=to-app")
    client = nat.call(proxy())
    client.says(b"GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n")
    nat.settle()
    first = nat.answer()
    first.hears()
    first.says(_OK + b"1.")
    nat.settle()
    client.says(b"GET http://two.test/ HTTP/1.1\r\nHost: two.test\r\n\r\n")
    nat.settle()
    nat.refuse()
    assert client.hears() == b"", "the first answer is still on its way, and the second is behind it"
    nat.advance(1.1)
    heard = client.hears()
    assert heard.startswith(_OK + b"1.HTTP/1.1 502 ")


def test_a_leg_that_goes_to_another_flow_keeps_what_is_on_its_way() -> None:
    nat = MemoryDriver("transparent", "latency.delay_s=1", "latency.direction=to-app")
    client = nat.call(proxy())
    for host in ("one", "two"):
        client.says(f"GET http://{host}.test/ HTTP/1.1\r\nHost: {host}.test\r\n\r\n".encode())
        nat.settle()
        origin = nat.answer()
        origin.hears()
        origin.says(_OK + host[:2].encode())
        nat.settle()
    nat.advance(1.1)
    assert client.hears() == _OK + b"on" + _OK + b"tw"


def test_frozen_flows_send_what_is_due_when_they_are_thawed() -> None:
    nat, app, server = connected("latency.delay_s=1")
    app.says(b"request")
    nat.settle()
    nat.driver.freeze(Side.EXTERNAL)
    nat.advance(2)
    assert server.hears() == b""
    nat.driver.thaw(Side.EXTERNAL)
    nat.settle()
    assert server.hears() == b"request"


def test_loss_stalls_a_direction_for_a_timeout_and_loses_nothing() -> None:
    nat, app, server = connected("loss.share=0.1", "loss.segments_per_s=10", "loss.direction=to-server")
    came: list[float] = []
    for step in range(2000):
        app.says(step.to_bytes(2, "big"))
        nat.advance(0.01)
        came += [step * 0.01] * (len(server.hears()) // 2)
    nat.advance(20)
    assert len(came) + len(server.hears()) // 2 == 2000
    pauses = [after - before for before, after in itertools.pairwise(came) if after - before > 0.15]
    assert 10 <= len(pauses) <= 30, "one a second in 20 s, less the time stalled"
    assert sum(0.19 <= pause <= 0.23 for pause in pauses) >= 0.7 * len(pauses)
    assert len(nat.told("chance-drawn")) >= 2 * len(pauses)


@pytest.mark.parametrize("order", ["external-first", "internal-first", "lockstep"])
@pytest.mark.parametrize("failure", ["refused", "silence"])
def test_a_dial_that_is_refused_reaches_no_server_whatever_the_order(order: str, failure: str) -> None:
    nat = MemoryDriver("vmware-fusion", f"precomplete-handshake.order={order}", f"refuse.failure={failure}")
    app = nat.call(proxy())
    app.says(bytes([4, 1, 0, 80, 192, 0, 2, 80, 0]))  # SOCKS4
    nat.settle()
    assert nat.connector.dials == []
    answer, refused = app.hears(), failure == "refused"
    assert (answer[:2], app.end) == ((b"\0\x5b", "fin") if refused else (b"", ""))
    assert nat.fields("flow-ended")["because"] == "refuse"


def test_some_dials_are_refused_by_chance_and_the_seed_repeats_them() -> None:
    def refused(seed: int) -> list[bool]:
        nat = MemoryDriver("transparent", "refuse.share=0.5", seed=seed)
        found = []
        for _ in range(40):
            nat.call(forward())
            found.append(not nat.connector.dials)
            nat.connector.dials.clear()
        return found

    assert refused(1) == refused(1) != refused(2)
    assert 10 <= sum(refused(1)) <= 30
