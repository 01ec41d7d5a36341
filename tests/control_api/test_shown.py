"""What a control shows: flows, what happens as it happens, and metrics that move."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from importlib.metadata import version
from typing import Any, NoReturn

import pytest
import trio
import trio.testing

from relay import open_relay
from relay.address import Endpoint, ForwardSpec
from relay.control import OpenFlow, OpenForward, SetFault
from relay.control_api.commands import COMMANDS
from relay.control_api.metrics import ProxyLabels, metrics_text
from relay.events import Side
from relay.fault import Fault
from relay.shape import Shape
from relay.testing import RunningRelay
from relay.totals import Totals
from support.control_client import Client
from support.origins import Origin, echo, read_exactly


def metric(client: Client, name: str) -> int:
    """A metric's value; `name` may have labels."""
    text = client.ask("GET", "/metrics").body.decode()
    found = re.search(rf"^{re.escape(name)} (\d+)$", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


def test_a_flow_is_listed_with_what_it_has_carried(nat: RunningRelay, client: Client) -> None:
    with Origin(echo) as origin:
        address = nat.forward(origin.host, origin.port)
        with socket.create_connection(address, 60) as app:
            app.sendall(b"hello")
            assert read_exactly(app, 5) == b"hello"
            (flow,) = client.ask("GET", "/relay/v1/flows").json["flows"]
            client_end = Endpoint(*app.getsockname()[:2])
        assert (flow["number"], flow["client"], flow["destination"]) == (1, str(client_end), origin.target)
        assert (flow["bytes_out"], flow["bytes_in"], flow["forward"]) == (5, 5, str(address))
        nat.wait_for("flow-ended")
        assert client.ask("GET", "/relay/v1/flows").json == {"flows": []}


def test_a_flow_that_has_not_asked_yet_has_no_destination(nat: RunningRelay, client: Client) -> None:
    with socket.create_connection(nat.address, 60) as app:
        app.sendall(b"\x05\x01\x00")
        assert read_exactly(app, 2) == b"\x05\x00"
        (flow,) = client.ask("GET", "/relay/v1/flows").json["flows"]
    assert (flow["destination"], flow["forward"], flow["bytes_out"]) == ("", None, 0)


def test_events_come_as_they_happen_and_from_before(nat: RunningRelay, client: Client) -> None:
    nat.freeze("server")
    with client.connect() as sock, sock.makefile("rb") as lines:
        sock.sendall(b"GET /relay/v1/events?earlier=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while (line := lines.readline()) != b"\r\n":
            if line.lower().startswith(b"content-type"):
                assert line.strip().endswith(b"text/event-stream")

        def next_event() -> str:
            while not (line := lines.readline()).startswith(b"data: "):
                assert line
            return str(json.loads(line[6:])["event"])

        assert next_event() == "frozen"
        nat.link_down()
        assert next_event() == "link-down"


def test_counters_move_while_a_connection_lives(nat: RunningRelay, client: Client) -> None:
    with Origin(echo) as origin:
        address = nat.forward(origin.host, origin.port)
        labels = f'listener="{address}",proxy="{address}",upstream="{origin.target}"'
        with socket.create_connection(address, 60) as app:
            for sent in (1, 2):
                app.sendall(b"hello")
                assert read_exactly(app, 5) == b"hello"
                assert metric(client, 'relay_bytes_total{direction="out"}') == 5 * sent
                for name in ("received", "sent"):
                    for way in ("upstream", "downstream"):
                        full = f'toxiproxy_proxy_{name}_bytes_total{{direction="{way}",{labels}}}'
                        assert metric(client, full) == 5 * sent
            assert metric(client, "relay_flows_open") == 1
        nat.wait_for("flow-ended")
        assert metric(client, 'relay_bytes_total{direction="out"}') == 10
        assert metric(client, 'relay_flows_ended_total{cause="internal-peer"}') == 1
        with socket.create_connection(address, 60) as app:
            app.sendall(b"hello")
            assert read_exactly(app, 5) == b"hello"
            nat.link_down()
            nat.wait_for("flow-ended", because="link-down-reset")
            assert metric(client, 'relay_resets_total{behaviour="link-down-reset"}') > 0


def test_what_a_fault_keeps_back_is_received_and_not_sent(nat: RunningRelay, client: Client) -> None:
    with Origin(echo) as origin:
        address = nat.forward(origin.host, origin.port)
        nat.do(SetFault("little", Fault(side=Side.INTERNAL, shape=Shape(limit_bytes=3)), address))
        labels = f'direction="downstream",listener="{address}",proxy="{address}",upstream="{origin.target}"'
        with socket.create_connection(address, 5) as app:
            app.sendall(b"hello")
            assert read_exactly(app, 3) == b"hel"
            shaped = nat.wait_for("shape-changed", because="forward's fault little")
            assert shaped.fields["effects"] == ["limit_bytes=3"]
            for over in (False, True):
                assert metric(client, f"toxiproxy_proxy_received_bytes_total{{{labels}}}") == 5
                assert metric(client, f"toxiproxy_proxy_sent_bytes_total{{{labels}}}") == 3
                if not over:
                    nat.link_down()
                    nat.wait_for("flow-ended")


def test_a_label_cannot_forge_a_metric() -> None:
    proxy = ProxyLabels('a"} 1\nb{c="\\', Endpoint("127.0.0.1", 1), "d:1")
    assert r'proxy="a\"} 1\nb{c=\"\\",' in metrics_text(Totals(), [], {}, [proxy])
    for line in metrics_text(Totals(), [], {}, [proxy]).splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) .*|\w+(\{\w+="(\\.|[^"\\])*"(,\w+="(\\.|[^"\\])*")*\})? \d+', line), line


def test_each_sum_stands_by_its_own_name() -> None:
    listener, other = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)
    totals = Totals(flows=7, open=2, bytes_out=300, bytes_in=40)
    totals.ended_by.update({"linger": 3, "cut": 1})
    totals.forwards_out[listener], totals.forwards_in[listener] = 200, 10
    totals.received_out[listener], totals.received_in[listener] = 1000, 50
    proxies = [ProxyLabels("one", listener, "d:1"), ProxyLabels("two", other, "d:2")]
    who: dict[str, Any] = {"client": "", "destination": "", "process": None, "age_s": 0}
    flows = [
        OpenFlow(number=n, forward=by, bytes_out=n, bytes_in=2 * n, received_out=3 * n, received_in=4 * n, **who)
        for n, by in ((1, listener), (2, None))
    ]
    one, two = 'listener="127.0.0.1:1",proxy="one",upstream="d:1"', 'listener="127.0.0.1:2",proxy="two",upstream="d:2"'
    assert metrics_text(totals, flows, {"tos-reset": 5, "cut": 4}, proxies).splitlines() == [
        "# HELP relay_flows_total Flows that have begun.",
        "# TYPE relay_flows_total counter",
        "relay_flows_total 7",
        "# HELP relay_flows_open Flows that are open.",
        "# TYPE relay_flows_open gauge",
        "relay_flows_open 2",
        "# HELP relay_flows_ended_total Flows that have ended, by what began the end: a cause, or a behaviour.",
        "# TYPE relay_flows_ended_total counter",
        'relay_flows_ended_total{cause="cut"} 1',
        'relay_flows_ended_total{cause="linger"} 3',
        "# HELP relay_resets_total Resets that the relay has sent, by the cause, or the behaviour, that had them sent.",
        "# TYPE relay_resets_total counter",
        'relay_resets_total{behaviour="cut"} 4',
        'relay_resets_total{behaviour="tos-reset"} 5',
        "# HELP relay_bytes_total Bytes carried: out, from apps to servers, and in.",
        "# TYPE relay_bytes_total counter",
        'relay_bytes_total{direction="out"} 303',
        'relay_bytes_total{direction="in"} 46',
        "# HELP toxiproxy_proxy_received_bytes_total Bytes received by a proxy.",
        "# TYPE toxiproxy_proxy_received_bytes_total counter",
        f'toxiproxy_proxy_received_bytes_total{{direction="upstream",{one}}} 1003',
        f'toxiproxy_proxy_received_bytes_total{{direction="downstream",{one}}} 54',
        f'toxiproxy_proxy_received_bytes_total{{direction="upstream",{two}}} 0',
        f'toxiproxy_proxy_received_bytes_total{{direction="downstream",{two}}} 0',
        "# HELP toxiproxy_proxy_sent_bytes_total Bytes sent through a proxy.",
        "# TYPE toxiproxy_proxy_sent_bytes_total counter",
        f'toxiproxy_proxy_sent_bytes_total{{direction="upstream",{one}}} 201',
        f'toxiproxy_proxy_sent_bytes_total{{direction="downstream",{one}}} 12',
        f'toxiproxy_proxy_sent_bytes_total{{direction="upstream",{two}}} 0',
        f'toxiproxy_proxy_sent_bytes_total{{direction="downstream",{two}}} 0',
    ]


def test_there_is_a_list_of_what_there_is(nat: RunningRelay, client: Client) -> None:
    told = client.ask("GET", "/relay/v1").json
    assert told["profile"] == "vmware-fusion-11"
    assert (told["proxy"], told["forwards"], told["inbound"]) == (str(nat.address), [], [])
    assert told["version"] == version("vmnat-relay")
    forward = nat.forward("127.0.0.1", 9)
    inbound = nat.do(OpenForward(ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", 8)), "server"))
    now = client.ask("GET", "/relay/v1").json
    assert (now["forwards"], now["inbound"]) == ([str(forward)], [str(inbound)])
    assert told["paths"] == [
        *("/version", "/metrics", "/relay/v1", "/relay/v1/flows", "/relay/v1/events?earlier=N", "/proxies"),
        *(f"/relay/v1/commands/{name}" for name in COMMANDS),
    ]
    assert told["commands"] == list(COMMANDS)
    assert client.ask("GET", "/version").json == {"version": "2.12.0"}
    assert client.ask("GET", "/version").body.endswith(b"}\n")
    assert client.ask("HEAD", "/version").body == b""
    assert client.ask("GET", "/metrics").headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    for missing in ("/nowhere", "/relay/v1/flows/1"):
        assert client.ask("GET", missing).status == 404
    assert client.ask("GET", "/nowhere").json["hint"] == "GET /relay/v1 lists what there is"
    wrong = client.ask("GET", "/relay/v1/commands/freeze")
    assert (wrong.status, wrong.headers["Allow"], wrong.json["error"]) == (405, "POST", "GET is not for this path")
    for path in (
        "/",
        "/relay/page/x",
        "/relay/v1/profile",
        "/relay/v1/flows/1",
        "/version",
        "/metrics",
        *told["paths"][2:5],
    ):
        wrong = client.ask("DELETE", path)
        assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD"), path


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(client: Client) -> None:
    body = b'{"side": "app"}'
    head = (
        f"POST /relay/v1/commands/freeze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with client.connect() as sock, sock.makefile("rb") as lines:
        sock.sendall(head.encode())
        assert [lines.readline().split()[:2], lines.readline()] == [[b"HTTP/1.1", b"100"], b"\r\n"]
        sock.sendall(body)
        assert lines.readline().startswith(b"HTTP/1.1 200 ")


def test_a_fault_of_the_controls_own_is_answered_and_recorded(
    nat: RunningRelay, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Exception] = []

    async def trip(*_: object) -> NoReturn:
        raise ZeroDivisionError("I tripped")

    assert client.ask("GET", "/version").status == 200
    monkeypatch.setattr("relay.control_api.routes.Routes._answer", trip)
    monkeypatch.setattr("relay.control_api.routes.show_traceback", shown.append)
    answer = client.ask("GET", "/version")
    assert (answer.status, answer.json["error"]) == (500, "the relay failed: ZeroDivisionError")
    fault = nat.wait_for("fault").fields
    assert fault["error"] == "control: ZeroDivisionError: I tripped"
    assert "in trip" in fault["traceback"]
    assert [str(each) for each in shown] == ["I tripped"]


def test_a_connection_that_breaks_amid_an_answer_is_no_fault(
    nat: RunningRelay, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(*_: object) -> NoReturn:
        raise BrokenPipeError("as the test has it")

    assert client.ask("GET", "/version").status == 200
    with monkeypatch.context() as broken:
        broken.setattr("relay.control_api.routes.Routes._answer", break_off)
        with pytest.raises(ConnectionError):
            client.ask("GET", "/version")
    assert client.ask("GET", "/version").status == 200
    assert not [record for record in nat.events if record.event == "fault"]


def test_one_connection_serves_several_requests(client: Client) -> None:
    with client.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_clock_that_jumps_neither_ends_a_follower_nor_spins_it() -> None:
    def heard(url: str) -> bytes:
        with Client(url).connect() as sock:
            sock.sendall(b"GET /relay/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
            sock.settimeout(0.2)
            text = b""
            with contextlib.suppress(TimeoutError):
                while len(text) < 10_000 and (piece := sock.recv(4096)):
                    text += piece
            return text

    async def main() -> None:
        async with open_relay("transparent") as nat:
            text = await trio.to_thread.run_sync(heard, nat.control_url)
            assert b"nothing" not in text

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
