"""What a relay in a thread offers a test: where it is, its commands, its records."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import pytest

from relay import EventType
from relay.actions import Note
from relay.behaviours import Actions, Behaviour
from relay.errors import ConfigError
from relay.events import DialSucceeded, Side
from relay.profiles import Quirk, load_profile
from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import need_tos
from support.clients import connect, is_reset_by
from support.origins import Origin, echo, read_exactly

AF21 = 0x48  # precedence 2
NEAR = 0x08  # precedence 0, and another DSCP


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(echo) as origin:
        yield origin


@pytest.fixture
def nat(backend: str) -> Iterator[RunningRelay]:
    with serve_in_thread("vmware-fusion", backend=backend) as nat:
        yield nat


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"


def test_its_urls_carry_the_credentials_that_it_wants(backend: str) -> None:
    with serve_in_thread("transparent", backend=backend) as nat:
        port = nat.address.port
        assert nat.socks_url == f"socks5h://127.0.0.1:{port}"
        assert nat.http_url == f"http://127.0.0.1:{port}"
        assert nat.url("socks4a") == f"socks4a://127.0.0.1:{port}"
    with serve_in_thread("transparent", backend=backend, auth="ann:p@ss:word/") as nat:
        assert nat.socks_url == f"socks5h://ann:p%40ss%3Aword%2F@{nat.address}"


@pytest.mark.system
def test_its_environment_sends_a_program_through_it_and_makes_no_exceptions(
    nat: RunningRelay, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "FTP_PROXY"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setenv("GREETING", "hello")
    variables = {"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"}
    assert {name for name in nat.env if name.lower().endswith("_proxy")} == {
        *variables,
        *(name.lower() for name in variables),
    }
    assert nat.env["ALL_PROXY"] == nat.env["all_proxy"] == nat.socks_url
    assert nat.env["GREETING"] == "hello"
    script = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{origin.port}/', timeout=60)"
    done = subprocess.run([sys.executable, "-c", script], env=nat.env, capture_output=True, timeout=30, check=False)
    assert done.returncode != 0  # what echoes a request is no web server
    nat.assert_used()
    assert nat.flows[0].destination == f"127.0.0.1:{origin.port}"


@pytest.mark.system
def test_an_unused_relay_says_who_skips_proxies(nat: RunningRelay, origin: Origin) -> None:
    with connect(nat, "direct", origin.host, origin.port) as sock:
        exchange(sock)
    with pytest.raises(AssertionError, match=r"nothing was asked of the relay.*\n.*\n.*Go programs, browsers"):
        nat.assert_used()


def test_a_name_is_answered_for_its_port_alone(nat: RunningRelay, origin: Origin) -> None:
    nat.resolve("Api.Test", origin.port, "127.0.0.1")
    with connect(nat, "socks5", "api.test", origin.port) as sock:
        exchange(sock)
    nat.resolve("six.test", origin.port, "::1")
    with pytest.raises(ConfigError, match="'here' is not an IP address"):
        nat.resolve("api.test", origin.port, "here")


def test_any_number_of_forwards_is_opened_while_it_runs(nat: RunningRelay, origin: Origin) -> None:
    forwards = [nat.forward(origin.host, origin.port) for _ in range(20)]
    assert len(set(forwards)) == 20
    for host, port in forwards:
        with socket.create_connection((host, port), timeout=60) as sock:
            exchange(sock)
    assert nat.forward_addresses == forwards
    assert {story.destination for story in nat.flows} == {origin.target}


def test_an_inbound_forward_dials_the_app(nat: RunningRelay, origin: Origin) -> None:
    host, port = nat.forward_inbound(origin.host, origin.port)
    with socket.create_connection((host, port), timeout=60) as sock:
        exchange(sock)
        nat.wait_for(EventType.FLOW_OPENED, via="inbound")
    assert nat.inbound_addresses == [(host, port)]
    assert nat.wait_for("fin-received", flow=1).fields == {"side": "external"}


_SIDES_HINT = "the sides: internal (the app), external (the server)"


@pytest.mark.parametrize("method", ["freeze", "thaw"])
def test_a_side_that_does_not_exist_is_named(nat: RunningRelay, method: str) -> None:
    with pytest.raises(ConfigError) as caught:
        getattr(nat, method)("extrenal")
    assert (str(caught.value), caught.value.hint) == (f"{method}: there is no side 'extrenal'", _SIDES_HINT)


def test_a_record_of_a_side_that_does_not_exist_is_not_waited_for(nat: RunningRelay) -> None:
    with pytest.raises(ConfigError) as caught:
        nat.wait_for("frozen", side="inside", timeout_s=0)
    assert (str(caught.value), caught.value.hint) == ("wait_for: there is no side 'inside'", _SIDES_HINT)


@pytest.mark.parametrize(("word", "side"), [("app", "internal"), ("server", "external")])
def test_a_side_may_be_called_what_the_readable_log_calls_it(
    nat: RunningRelay, word: Literal["app", "server"], side: str
) -> None:
    nat.freeze(word)
    assert nat.wait_for("frozen").fields == {"side": side}
    assert nat.wait_for("frozen", side=word) is nat.wait_for("frozen", side=Side(side))
    assert f"the {word} is frozen" in nat.log_text()
    nat.thaw(Side(side))
    nat.wait_for("thawed", side=side)


def test_a_frozen_server_is_silent_until_it_is_thawed(nat: RunningRelay, origin: Origin) -> None:
    with connect(nat, "forward", origin.host, origin.port) as sock:
        exchange(sock)
        nat.freeze("external")
        sock.sendall(b"x")
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        nat.thaw("external")
        sock.settimeout(60)
        assert read_exactly(sock, 1) == b"x"
    assert nat.wait_for(EventType.FROZEN, side="external").at_s < nat.wait_for(EventType.THAWED).at_s


def test_a_link_that_goes_down_resets_every_flow(nat: RunningRelay, origin: Origin) -> None:
    with (
        connect(nat, "forward", origin.host, origin.port) as first,
        connect(nat, "socks5", origin.host, origin.port) as second,
    ):
        for sock in (first, second):
            exchange(sock)
        nat.link_down()
        for flow, sock in enumerate((first, second), 1):
            nat.wait_for(EventType.FLOW_ENDED, flow=flow, because="link-down-reset")
            assert is_reset_by(sock, b"x")


def test_settings_change_for_flows_to_come(nat: RunningRelay, origin: Origin) -> None:
    need_tos()
    with connect(nat, "forward", origin.host, origin.port) as before:
        exchange(before)
        nat.set(tos_reset={"mask": 0xFC}, link_down_reset={"enabled": False})
        assert nat.profile.tos_mask == 0xFC
        assert "link-down-reset" not in {quirk.name for quirk in nat.profile.quirks}
        with connect(nat, "forward", origin.host, origin.port) as after:
            exchange(after)
            for sock in (before, after):
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, NEAR)
            assert is_reset_by(after, b"x")
        exchange(before)
    assert nat.wait_for(EventType.SETTINGS_CHANGED).fields["settings"] == [
        "tos-reset.mask=252",
        "link-down-reset.enabled=false",
    ]
    with pytest.raises(ConfigError, match=r"tos_reset=\{'mask': 0\}: '?0'? is not an integer"):
        nat.set(link_down_reset={"enabled": True}, tos_reset={"mask": 0})
    assert "link-down-reset" not in {quirk.name for quirk in nat.profile.quirks}


def test_time_scale_hastens_what_behaviours_wait_for(nat: RunningRelay, origin: Origin) -> None:
    need_tos()
    nat.set(tos_reset={"external_close_delay_ms": 30_000})
    nat.time_scale = 500
    with connect(nat, "forward", origin.host, origin.port) as sock:
        exchange(sock)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
        assert is_reset_by(sock, b"x")
        began = nat.wait_for(EventType.RST_SENT, side="internal")
        ended = nat.wait_for(EventType.FIN_SENT, side="external")
    assert 30 <= ended.at_s - began.at_s + 0.001 < 1500, "by the NAT's clock"
    assert 0.05 < ended.at(0) - began.at(0) < 3, "by the real one"
    with pytest.raises(ConfigError, match="0 is out of range"):
        nat.time_scale = 0


@dataclass
class Gambler(Behaviour):
    """Draws twice for each flow."""

    draws = True

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield Note(f"{self.chance()} {self.chance()}")


def test_a_seed_that_is_set_anew_begins_anew(origin: Origin, backend: str) -> None:
    transparent = load_profile("transparent")
    gambling = replace(transparent, quirks=(*transparent.quirks, Quirk(Gambler, {}, "assumed", ())))
    with serve_in_thread(gambling, backend=backend, seed=7) as nat:
        address = nat.forward(origin.host, origin.port)

        def draw() -> str:
            flow = len(nat.flows) + 1
            with socket.create_connection(address, timeout=60):
                return str(nat.wait_for("note", flow=flow).fields["text"])

        assert nat.seed == 7
        drawn = [draw(), draw()]
        nat.seed = 8
        others = [draw(), draw()]
        assert nat.seed == 8
        nat.seed = 7
        assert [draw(), draw()] == drawn
        assert len({*drawn, *others}) == 4


def test_waiting_finds_the_flow_that_is_meant(nat: RunningRelay, origin: Origin) -> None:
    address = nat.forward(origin.host, origin.port)
    clients = []
    for _ in range(2):
        with socket.create_connection(address, timeout=60) as sock:
            exchange(sock)
            clients.append("{}:{}".format(*sock.getsockname()))
    assert [nat.wait_for("flow-opened", flow=flow).fields["client"] for flow in (1, 2)] == clients
    assert nat.wait_for("flow-opened", client=clients[1]).flow == 2
    began_s = time.monotonic()
    with pytest.raises(AssertionError, match=r"no flow-opened \(client='absent', flow=2\) within 0.1 s"):
        nat.wait_for("flow-opened", flow=2, client="absent", timeout_s=0.1)
    assert time.monotonic() - began_s < 5


def test_a_relay_without_a_proxy_says_so(backend: str) -> None:
    with serve_in_thread(backend=backend, listen=None, forwards=["0:127.0.0.1:9"]) as nat:
        assert len(nat.forward_addresses) == 1
        with pytest.raises(ConfigError, match="listen=None: this relay has no proxy"):
            nat.socks_url  # noqa: B018
