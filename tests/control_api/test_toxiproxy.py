"""Toxiproxy's API: each answer as its clients expect it, and each toxic as flows feel it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from relay.control_api.exchange import Refused
from relay.control_api.json_body import Fields
from relay.control_api.toxiproxy.toxics import Toxic, read_toxic
from relay.events import Side
from relay.fault import Fault
from relay.shape import Shape
from relay.testing import RunningRelay
from support.control_client import Client
from support.measuring import least
from support.origins import Origin, echo, read_exactly

_DOWN, _UP = Side.INTERNAL, Side.EXTERNAL
_NOTHING = Shape(limit_bytes=0)
_FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("toxic", "fault"),
    [
        (
            {"type": "latency", "attributes": {"latency": 100, "jitter": 10}},
            Fault(side=_DOWN, shape=Shape(delay_s=0.1, jitter_s=0.01)),
        ),
        (
            {"type": "bandwidth", "stream": "upstream", "attributes": {"rate": 50}},
            Fault(side=_UP, shape=Shape(rate_bytes_per_s=50_000)),
        ),
        ({"type": "slow_close", "attributes": {"delay": 200}}, Fault(side=_DOWN, shape=Shape(end_delay_s=0.2))),
        (
            {"type": "timeout", "attributes": {"timeout": 250}},
            Fault(side=_DOWN, shape=_NOTHING, end_after_s=0.25, end_when_lifted=True),
        ),
        ({"type": "timeout"}, Fault(side=_DOWN, shape=_NOTHING, end_when_lifted=True)),
        ({"type": "reset_peer"}, Fault(side=_DOWN, shape=_NOTHING, end="rst", end_after_s=0)),
        (
            {"type": "slicer", "attributes": {"average_size": 10, "size_variation": 4, "delay": 20}},
            Fault(side=_DOWN, shape=Shape(slice_bytes=10, slice_delay_s=20e-6, slice_variation_bytes=4)),
        ),
        (
            {"type": "limit_data", "toxicity": 0.5, "attributes": {"bytes": 7}},
            Fault(side=_DOWN, shape=Shape(limit_bytes=7), end_at_limit=True, share=0.5),
        ),
    ],
)
def test_a_toxic_is_a_fault(toxic: dict[str, Any], fault: Fault) -> None:
    read = read_toxic(Fields(toxic, "toxic"))
    assert isinstance(read, Toxic)
    assert read.fault == fault


@pytest.mark.parametrize(
    ("toxic", "said"),
    [
        ({}, "invalid toxic type: ''"),
        ({"type": "earthquake"}, "invalid toxic type: 'earthquake'"),
        ({"type": "latency", "stream": "sideways"}, "stream was invalid: 'sideways'"),
        ({"type": "latency", "toxicity": 2}, "toxic: toxicity: 2 is not a number from 0 to 1"),
        ({"type": "latency", "attributes": {"latency": -1}}, "toxic: attributes: latency: -1 is not a number from 0"),
        ({"type": "latency", "attributes": {"delay": 1}}, "toxic: attributes: unknown field 'delay'"),
        ({"type": "latency", "attributes": [1]}, "toxic: attributes: [1] is no object"),
    ],
)
def test_a_toxic_that_is_wrong_is_named(toxic: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as raised:
        read_toxic(Fields(toxic, "toxic"))
    assert raised.value.status == 400
    assert str(raised.value).startswith(said)


def test_a_proxy_from_its_creation_to_its_end(nat: RunningRelay, client: Client) -> None:
    with Origin(echo) as origin:
        made = client.ask("POST", "/proxies", {"name": "redis", "upstream": origin.target, "listen": "127.0.0.1:0"})
        assert made.status == 201
        listen = made.json["listen"]
        proxy = {"name": "redis", "listen": listen, "upstream": origin.target, "enabled": True, "toxics": []}
        assert made.json == proxy
        assert not listen.endswith(":0")
        assert client.ask("GET", "/proxies").json == {"redis": proxy}
        assert client.ask("GET", "/proxies/redis").json == proxy
        assert client.ask("POST", "/proxies", proxy).status == 409

        with _connected(listen) as app:
            assert client.ask("POST", "/proxies/redis", {"enabled": False}).json == proxy | {"enabled": False}
            assert app.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            _connected(listen).__enter__()
        assert client.ask("PATCH", "/proxies/redis", proxy).json == proxy  # on the same port, as Go's client sends it
        with _connected(listen):
            pass

        assert client.ask("DELETE", "/proxies/redis").status == 204
        gone = client.ask("GET", "/proxies/redis")
        assert (gone.status, gone.json) == (404, {"error": "proxy not found", "status": 404})
        assert nat.forward_addresses == []


def test_forwards_of_other_origin_are_proxies_too(nat: RunningRelay, client: Client) -> None:
    address = nat.forward("127.0.0.1", 9)
    assert client.ask("GET", f"/proxies/{address}").json["upstream"] == "127.0.0.1:9"
    assert client.ask("GET", "/proxies").json[str(address)]["upstream"] == "127.0.0.1:9"
    client.ask("POST", "/relay/v1/commands/close-forward", {"listen": str(address)})
    assert client.ask("GET", "/proxies").json[str(address)]["enabled"] is False


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize("kind", [("latency", {"latency": 5.0, "jitter": 0.0}), ("slow-close", {"delay_s": 5})])
def test_a_toxic_is_read_as_it_was_made(client: Client, kind: tuple[str, dict[str, float]], stream: str) -> None:
    client.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    toxic = {"name": "slow", "type": kind[0], "stream": stream, "toxicity": 0.5, "attributes": kind[1]}
    assert client.ask("POST", "/proxies/one/toxics", toxic).json == toxic
    assert client.ask("GET", "/proxies/one/toxics/slow").json == toxic


def test_toxics_come_change_and_go(client: Client) -> None:
    client.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    toxics = "/proxies/one/toxics"
    toxic = {
        "attributes": {"latency": 100, "jitter": 0},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1.0,
    }
    added = client.ask("POST", toxics, {"type": "latency", "attributes": {"latency": 100}})
    assert (added.status, added.json) == (200, toxic)
    assert client.ask("GET", toxics).json == [toxic]
    assert client.ask("POST", toxics, toxic).status == 409
    for method, latency in (("POST", 200), ("PATCH", 300)):
        changed = client.ask(method, f"{toxics}/latency_downstream", {"attributes": {"latency": latency}})
        assert changed.json["attributes"] == {"latency": latency, "jitter": 0}
    assert client.ask("GET", f"{toxics}/latency_downstream").json == changed.json
    assert client.ask("GET", "/proxies/one").json["toxics"] == [changed.json]
    assert client.ask("DELETE", f"{toxics}/latency_downstream").status == 204
    assert client.ask("DELETE", f"{toxics}/latency_downstream").json == {"error": "toxic not found", "status": 404}
    assert client.ask("DELETE", "/reset").status == 405


def test_populate_keeps_what_is_the_same(nat: RunningRelay, client: Client) -> None:
    wanted = [
        {"name": "a", "upstream": "127.0.0.1:9", "listen": "127.0.0.1:0"},
        {"name": "b", "upstream": "127.0.0.1:9"},
    ]
    made = client.ask("POST", "/populate", wanted)
    assert made.status == 201
    first, second = made.json["proxies"]
    second["upstream"] = "127.0.0.1:10"
    again = client.ask("POST", "/populate", [first, second]).json["proxies"]
    assert [again[0], again[1]["upstream"]] == [first, "127.0.0.1:10"]
    assert len(nat.forward_addresses) == 2
    wrongs: tuple[Any, ...] = ({}, [7], [{"name": "c"}])
    for wrong in wrongs:
        assert client.ask("POST", "/populate", wrong).status == 400


def test_what_is_wrong_with_a_proxy_is_one_line(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        in_use = f"listen: cannot listen on {where}: address already in use"
        for body, status, said in (
            ({"upstream": "127.0.0.1:9"}, 400, "missing required field: name"),
            ({"name": "a"}, 400, "missing required field: upstream"),
            ({"name": "a", "upstream": "nowhere"}, 400, "upstream: cannot read 'nowhere'"),
            ({"name": "a", "upstream": "b:1", "colour": 1}, 400, "proxy: unknown field 'colour'"),
            ({"name": "a", "upstream": "b:1", "listen": ":8666"}, 403, "listen: 0.0.0.0:8666 is beyond loopback"),
            (
                {"name": "a", "upstream": "b:1", "listen": where},
                500,
                in_use,
            ),
        ):
            answer = client.ask("POST", "/proxies", body)
            assert (answer.status, answer.json["error"]) == (status, said)
    assert client.ask("GET", "/proxies").json == {}


def test_a_hostile_name_is_only_a_name(client: Client) -> None:
    name = '</script>"\n\u202e}'
    assert client.ask("POST", "/proxies", {"name": name, "upstream": "127.0.0.1:9"}).status == 201
    assert b"<" not in client.ask("GET", "/proxies").body.replace(b"</script>", b"")
    assert client.ask("GET", "/proxies").headers["X-Content-Type-Options"] == "nosniff"
    assert client.ask("DELETE", "/proxies/%3C%2Fscript%3E%22%0A%E2%80%AE%7D").status == 204


def test_latency_holds_for_a_live_flow_and_its_end_too(client: Client) -> None:
    with _proxy(client) as (toxics, listen), _connected(listen) as app:
        client.ask("POST", toxics, {"type": "latency", "attributes": {"latency": 200}})
        began_s = time.monotonic()
        app.sendall(b"slow")
        assert read_exactly(app, 4) == b"slow"
        assert time.monotonic() - began_s >= 0.2
        client.ask("POST", "/reset", b"", Content_Type=_FORM, Accept="application/json", User_Agent="axios/1.7")

        def exchange_s() -> float:
            began_s = time.monotonic()
            app.sendall(b"fast")
            assert read_exactly(app, 4) == b"fast"
            return time.monotonic() - began_s

        assert least(exchange_s, 0.2) < 0.2


def test_bandwidth_lets_so_many_kilobytes_pass_in_a_second(client: Client) -> None:
    with _proxy(client) as (toxics, listen), _connected(listen) as app:
        client.ask("POST", toxics, {"type": "bandwidth", "attributes": {"rate": 100}})
        began_s = time.monotonic()
        app.sendall(bytes(30_000))
        assert read_exactly(app, 30_000) == bytes(30_000)
        assert time.monotonic() - began_s >= 0.29


def test_slow_close_delays_the_end_and_not_the_bytes_before_it(client: Client) -> None:
    def close_s(listen: tuple[str, int]) -> float:
        """When the last bytes come; the end follows."""
        with _connected(listen) as app:
            began_s = time.monotonic()
            app.sendall(b"last")
            app.shutdown(socket.SHUT_WR)
            assert read_exactly(app, 4) == b"last"
            came_s = time.monotonic() - began_s
            assert app.recv(1) == b""
            assert time.monotonic() - began_s >= 0.3
        return came_s

    with _proxy(client) as (toxics, listen):
        client.ask("POST", toxics, {"type": "slow_close", "attributes": {"delay": 300}})
        assert least(lambda: close_s(listen), 0.3) < 0.3


def test_slicer_cuts_as_asked(client: Client) -> None:
    with _proxy(client) as (toxics, listen), _connected(listen) as app:
        attributes = {"average_size": 100, "size_variation": 30, "delay": 20_000}
        client.ask("POST", toxics, {"type": "slicer", "attributes": attributes})
        began_s = time.monotonic()
        app.sendall(bytes(1000))
        sizes: list[int] = []
        while sum(sizes) < 1000:
            sizes.append(len(app.recv(1000)))
        assert time.monotonic() - began_s >= 0.02 * (1000 // 130)
        whole = [size for size in sizes[:-1] if size <= 130]  # a reader that is late gets several at once
        assert whole
        assert min(whole) >= 70


def test_limit_data_counts_from_when_it_takes_hold_and_ends_in_order(client: Client) -> None:
    with _proxy(client) as (toxics, listen), _connected(listen) as app:
        client.ask("POST", toxics, {"type": "slicer", "attributes": {"average_size": 100}})
        app.sendall(b"a" * 1000)
        assert read_exactly(app, 1000) == b"a" * 1000
        client.ask("POST", toxics, {"type": "limit_data", "attributes": {"bytes": 500}})
        app.sendall(b"b" * 1000)
        assert _all_of(app) == b"b" * 500


def test_timeout_drops_what_comes_and_closes_when_it_is_taken_away(client: Client) -> None:
    with _proxy(client) as (toxics, listen), _connected(listen) as app:
        client.ask("POST", toxics, {"type": "timeout", "attributes": {"timeout": 0}})
        app.sendall(b"lost")
        app.settimeout(0.1)
        with pytest.raises(TimeoutError):
            app.recv(1)
        app.settimeout(60)
        client.ask("DELETE", f"{toxics}/timeout_downstream")
        assert _all_of(app) == b""


def test_timeout_closes_after_its_time(client: Client) -> None:
    with _proxy(client) as (toxics, listen):
        client.ask("POST", toxics, {"type": "timeout", "attributes": {"timeout": 200}})
        began_s = time.monotonic()
        with socket.create_connection(listen, 60) as app:
            app.sendall(b"lost")
            assert _all_of(app) == b""
        assert time.monotonic() - began_s >= 0.2


def test_reset_peer_is_a_reset(nat: RunningRelay, client: Client) -> None:
    with _proxy(client) as (toxics, listen):
        client.ask("POST", toxics, {"type": "reset_peer", "attributes": {"timeout": 200}})
        with socket.create_connection(listen, 60) as app:
            app.sendall(b"lost")
            with pytest.raises(ConnectionResetError):
                app.recv(1)
        assert nat.wait_for("flow-ended").fields["because"] == "command"


def test_each_connection_draws_once_for_a_toxic_that_is_not_for_all(nat: RunningRelay, client: Client) -> None:
    nat.seed = 7
    with _proxy(client) as (toxics, listen):
        client.ask("POST", toxics, {"type": "reset_peer", "toxicity": 0.5, "name": "half"})
        outcomes = [_is_reset(listen) for _ in range(20)]
        assert 3 < sum(outcomes) < 17
        drawn = [record for record in nat.events if record.event == "chance-drawn"]
        assert [record.fields["value"] < 0.5 for record in drawn] == outcomes
        nat.seed = 7
        assert [_is_reset(listen) for _ in range(20)] == outcomes
        client.ask("POST", f"{toxics}/half", {"toxicity": 0})
        assert not any(_is_reset(listen) for _ in range(5))


@contextmanager
def _proxy(client: Client) -> Iterator[tuple[str, tuple[str, int]]]:
    """The path of its toxics, and where it listens."""
    with Origin(echo) as origin:
        made = client.ask("POST", "/proxies", {"name": "one", "upstream": origin.target})
        host, _, port = made.json["listen"].rpartition(":")
        yield "/proxies/one/toxics", (host, int(port))


@contextmanager
def _connected(listen: str | tuple[str, int]) -> Iterator[socket.socket]:
    if isinstance(listen, str):
        host, _, port = listen.rpartition(":")
        listen = (host, int(port))
    with socket.create_connection(listen, 60) as app:
        app.sendall(b"hello")
        assert read_exactly(app, 5) == b"hello"
        yield app


def _all_of(app: socket.socket) -> bytes:
    got = b""
    while piece := app.recv(65536):
        got += piece
    return got


def _is_reset(listen: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(listen, 60) as app:  # it may be reset while it connects
            app.sendall(b"x")
            return app.recv(1) != b"x"
    except ConnectionError:
        return True
