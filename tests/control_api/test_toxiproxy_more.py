"""What is more than toxiproxy's: behaviours and profiles as toxics, and upstreams that are no server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from relay.address import ANYWHERE, Endpoint, ForwardSpec
from relay.control import OpenForward
from relay.control_api.exchange import Refused
from relay.control_api.json_body import Fields
from relay.control_api.toxiproxy.behaviour_toxics import BehaviourToxic
from relay.control_api.toxiproxy.toxics import read_toxic
from relay.errors import ConfigError
from relay.testing import RunningRelay, serve_in_thread
from support.clients import connect_by_port
from support.control_client import Client
from support.origins import Origin, echo, read_exactly


@pytest.mark.parametrize(
    ("toxic", "settings"),
    [
        ({"type": "cut", "attributes": {"at_request": 2}}, ("cut.at_request=2", "cut.direction=to-app")),
        ({"type": "loss", "stream": "upstream"}, ("loss.direction=to-server",)),
        ({"type": "loss", "attributes": {"direction": "both"}}, ("loss.direction=both",)),
        ({"type": "tos-reset"}, ("tos-reset.enabled=true",)),
        ({"type": "refuse-dial", "attributes": {"share": 0.5}}, ("refuse.share=0.5",)),
        ({"type": "refuse", "toxicity": 0.25}, ("refuse.when.share=0.25",)),
        (
            {"type": "refuse", "toxicity": 0.25, "attributes": {"when": {"port": 80}}},
            ("refuse.when.port=80", "refuse.when.share=0.25"),
        ),
        ({"type": "refuse", "toxicity": 0}, ()),
        ({"type": "profile", "attributes": {"name": "slirp"}}, ("profile=slirp",)),
        ({"type": "profile", "toxicity": 0, "attributes": {"name": "slirp"}}, ()),
    ],
)
def test_a_toxic_is_a_behaviour_of_the_proxys_flows(toxic: dict[str, Any], settings: tuple[str, ...]) -> None:
    read = read_toxic(Fields(toxic, "toxic"))
    assert isinstance(read, BehaviourToxic)
    assert read.settings == settings


@pytest.mark.parametrize(
    ("toxic", "said"),
    [
        ({"type": "cut", "attributes": {"at": 1}}, "toxic: cut.at: cut has no setting 'at'"),
        ({"type": "cut", "attributes": {"at_request": "1"}}, "toxic: cut.at_request: '1' is not an integer"),
        ({"type": "cut", "attributes": {"status": "assumed"}}, "toxic: cut.status: not here"),
        ({"type": "cut", "toxicity": 0.5, "attributes": {"when": 1}}, "toxic: cut.when: 1 is not a table"),
        ({"type": "cut", "toxicity": 2}, "toxic: toxicity: 2 is not a number from 0 to 1"),
        ({"type": "cut", "attributes": 1}, "toxic: attributes: 1 is no object"),
        ({"type": "profile"}, "toxic: profile: its only attribute is name"),
        ({"type": "profile", "attributes": {"name": "slrp"}}, "toxic: unknown profile 'slrp'"),
        ({"type": "profile", "attributes": {"name": "/etc/passwd"}}, "toxic: unknown profile '/etc/passwd'"),
        ({"type": "profile", "toxicity": 0.5, "attributes": {"name": "slirp"}}, "toxic: profile: it is for all"),
    ],
)
def test_one_that_is_wrong_is_named(toxic: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as raised:
        read_toxic(Fields(toxic, "toxic"))
    assert raised.value.status == 400
    assert str(raised.value).startswith(said)


def test_a_profile_that_there_is_not_is_met_with_those_of_nearly_that_name(client: Client) -> None:
    toxic = {"type": "profile", "attributes": {"name": "slrp"}}
    forward = {"target": "127.0.0.1:9", "settings": ["profile=slrp"]}
    with proxied(client) as (toxics, _):
        for path, body in ((toxics, toxic), ("/relay/v1/commands/open-forward", forward)):
            hint = client.ask("POST", path, body).json["hint"]
            assert hint == "did you mean slirp or libslirp? `relay profiles` lists all profiles"


def test_they_hold_for_new_connections_beside_toxiproxys_own(client: Client) -> None:
    with proxied(client) as (toxics, listen):
        added = client.ask("POST", toxics, {"type": "cut", "attributes": {"at_request": 2, "how": "fin"}})
        assert added.json == {
            "attributes": {"at_request": 2, "how": "fin"},
            "name": "cut_downstream",
            "type": "cut",
            "stream": "downstream",
            "toxicity": 1.0,
        }
        assert client.ask("POST", toxics, {"type": "slicer", "attributes": {"average_size": 3}}).status == 200
        assert answers(listen) == 1
        twice = client.ask("POST", toxics, {"type": "cut", "name": "b", "attributes": {"after_s": 1}})
        assert (twice.status, twice.json["error"]) == (409, "the proxy has cut by its toxic 'cut_downstream'")
        wrong = client.ask("POST", f"{toxics}/cut_downstream", {"attributes": {"at_request": 0}})
        assert (wrong.status, "nothing says when it cuts" in wrong.json["error"]) == (400, True)
        changed = client.ask("POST", f"{toxics}/cut_downstream", {"attributes": {"at_request": 3}})
        assert changed.json["attributes"] == {"at_request": 3, "how": "fin"}
        assert answers(listen) == 2
        for enabled in (False, True):
            client.ask("POST", "/proxies/one", {"enabled": enabled})
        assert answers(listen) == 2, "a proxy that is enabled again has its toxics"
        assert client.ask("DELETE", f"{toxics}/cut_downstream").status == 204
        assert answers(listen) == 4
        assert [toxic["type"] for toxic in client.ask("GET", toxics).json] == ["slicer"]


def test_a_profile_is_a_toxic(nat: RunningRelay, client: Client) -> None:
    with proxied(client) as (toxics, listen):
        assert client.ask("POST", toxics, {"type": "profile", "attributes": {"name": "envoy"}}).status == 200
        assert client.ask("POST", toxics, {"type": "lifetime-limit", "attributes": {"after_s": 5}}).status == 200
        with socket.create_connection(listen, 60) as app:
            app.sendall(b"x")
            read_exactly(app, 1)
            nat.advance(6)
            assert app.recv(1) == b""
        assert nat.wait_for("flow-ended").fields["because"] == "lifetime-limit"
        client.ask("POST", "/reset", b"")
        assert nat._relay.forward_settings == {}


def test_a_forward_of_other_origin_keeps_its_own_settings(nat: RunningRelay, client: Client) -> None:
    with Origin(echo) as origin:
        address = nat.forward(origin.host, origin.port, cut={"at_request": 2})
        toxics = f"/proxies/{address}/toxics"
        client.ask("POST", toxics, {"type": "slow-dial", "attributes": {"delay_s": 0}})
        assert answers(address) == 1
        client.ask("DELETE", f"{toxics}/slow-dial_downstream")
        assert answers(address) == 1


@pytest.mark.parametrize("upstream", ["any://", "refuse://", "blackhole://"])
def test_an_upstream_that_is_no_server(nat: RunningRelay, client: Client, upstream: str) -> None:
    made = client.ask("POST", "/proxies", {"name": "place", "upstream": upstream}).json
    assert made["upstream"] == upstream
    assert client.ask("GET", "/proxies/place").json == made
    host, _, port = made["listen"].rpartition(":")
    if upstream == "any://":
        client.ask("POST", "/proxies/place/toxics", {"type": "cut", "attributes": {"at_request": 2, "how": "fin"}})
        with Origin(echo) as origin, connect_by_port(int(port), "127.0.0.1", origin.port) as app:
            assert told_back(app) == 1
        assert client.ask("DELETE", "/proxies/place").status == 204
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), 60)
        return
    if upstream == "refuse://":
        with pytest.raises(ConnectionResetError), socket.create_connection((host, int(port)), 60) as app:
            app.recv(1)  # if it was not reset before connect has returned
    else:
        with socket.create_connection((host, int(port)), 60) as app:
            app.sendall(b"x")
            app.settimeout(0.2)
            with pytest.raises(TimeoutError):
                app.recv(1)
    assert "flow-connected" not in [record.event for record in nat.events]


def test_a_forward_that_leads_anywhere_has_settings_and_faults_of_its_own(backend: str) -> None:
    forwards = ["0:any:// cut.at_request=2"]
    with Origin(echo) as origin, serve_in_thread("transparent", backend=backend, forwards=forwards, listen=None) as nat:
        (address,) = nat.forward_addresses
        with connect_by_port(address.port, "127.0.0.1", origin.port) as app:
            assert told_back(app) == 1
        assert nat.wait_for("flow-opened").fields["via"] == "socks5"
        assert nat._relay.targets == {address: ANYWHERE}
        (started,) = (record for record in nat.events if record.event == "relay-started")
        assert started.fields["forwards"] == [f"{address} -> any://"]
        with pytest.raises(ConfigError, match="target: any:// is no server of the guest's"):
            nat.do(OpenForward(ForwardSpec(Endpoint("127.0.0.1", 0), ANYWHERE), "server"))


@contextmanager
def proxied(client: Client) -> Iterator[tuple[str, tuple[str, int]]]:
    """The path of its toxics, and where it listens."""
    with Origin(echo) as origin:
        made = client.ask("POST", "/proxies", {"name": "one", "upstream": origin.target}).json
        host, _, port = made["listen"].rpartition(":")
        yield "/proxies/one/toxics", (host, int(port))


def answers(address: tuple[str, int]) -> int:
    """How many of four requests a new connection has an answer to."""
    with socket.create_connection(address, 60) as app:
        return told_back(app)


def told_back(app: socket.socket) -> int:
    for number in range(4):
        try:
            app.sendall(b"x")
            if app.recv(1) != b"x":
                return number
        except ConnectionError:
            return number
    return 4
