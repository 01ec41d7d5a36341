"""The live page as it is served: nothing inline, nothing from elsewhere, every button a command."""

from __future__ import annotations

import re
import socket

from relay.control_api.commands import COMMANDS
from relay.control_api.routes import _settings_of
from relay.profiles import load_profile
from relay.testing import RunningRelay
from support.control_client import Client
from support.origins import Origin, echo, read_exactly


def test_the_page_loads_its_own_files_alone_and_runs_nothing_inline(client: Client) -> None:
    page = client.ask("GET", "/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = page.body.decode()
    assert not re.findall(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|style=|https?://", text)
    for name in re.findall(r'(?:src|href)="([^"]+)"', text):
        file = client.ask("GET", name)
        assert (file.status, file.headers["Content-Type"].partition("/")[0]) == (200, "text"), name
    assert client.ask("GET", "/relay/page/..%2Froutes.py").status == 404
    assert client.ask("GET", "/relay/page/routes.py").status == 404


def test_every_button_is_a_command(client: Client) -> None:
    text = client.ask("GET", "/").body.decode()
    named = set(re.findall(r'data-command="([^"]+)"', text))
    taken_away = set(re.findall(r'command\("([\w-]+)"', client.ask("GET", "/relay/page/panels.js").body.decode()))
    asked = {"count-up", "list-flows"}  # what the page shows without them
    assert named | taken_away == COMMANDS.keys() - asked
    assert set(re.findall(r'data-request="([^"]+)"', text)) == {"POST /proxies"}


def test_what_a_quiet_connection_outlives_is_said(nat: RunningRelay, client: Client) -> None:
    assert client.ask("GET", "/relay/v1/profile").json["expires_after_s"] is None
    nat.set(idle_timeout={"after_s": 350})
    assert client.ask("GET", "/relay/v1/profile").json["expires_after_s"] == 350.001


def test_a_flow_has_its_ladder_as_the_report_has_it(nat: RunningRelay, client: Client) -> None:
    with Origin(echo) as origin:
        with socket.create_connection(nat.forward(origin.host, origin.port), 60) as app:
            app.sendall(b"hello")
            assert read_exactly(app, 5) == b"hello"
            nat.link_down()
            nat.wait_for("flow-ended")
        flow = client.ask("GET", "/relay/v1/flows/1").json
        assert (flow["destination"], flow["cause"], flow["out"]) == (origin.target, "link-down-reset", 5)
        assert any("link" in step[2] for step in flow["steps"])
    assert client.ask("GET", "/relay/v1/flows/2").json["error"] == "there is no flow 2"
    assert client.ask("GET", "/relay/v1/flows/2").json["hint"] == "the last 50000 records are kept"
    for number, shown in (("one", "one"), ("9" * 30, "9" * 20)):
        wrong = client.ask("GET", f"/relay/v1/flows/{number}")
        assert (wrong.status, wrong.json["error"]) == (
            400,
            f"flow: {shown!r} is not a whole number, up to 1000000000000000",
        )
    assert client.ask("GET", "/relay/v1/flows/1000000000000000").status == 404
    wrong = client.ask("GET", "/relay/v1/events?earlier=10001")
    assert wrong.json["error"] == "earlier: '10001' is not a whole number, up to 10000"


def test_what_adjust_takes_has_a_behaviours_conditions_too() -> None:
    profile = load_profile("vmware-fusion", ["latency.delay_s=1", "latency.when.port=81"])
    told = {quirk.name: _settings_of(quirk) for quirk in profile.quirks}
    assert (told["latency"][0], told["latency"][-1]) == ("latency.enabled=true", "latency.when.port=81")
    assert "latency.delay_s=1.0" in told["latency"]
    given = [text for settings in told.values() for text in settings]
    assert [quirk.settings for quirk in load_profile("vmware-fusion", given).quirks] == [
        quirk.settings for quirk in profile.quirks
    ]
    assert not [text for text in given if "True" in text or "False" in text]


def test_the_profile_has_its_switches(nat: RunningRelay, client: Client) -> None:
    told, before = client.ask("GET", "/relay/v1/profile").json, nat.profile
    assert [quirk["name"] for quirk in told["profile"]["quirks"]] == told["enabled"] == list(told["enable"])
    for quirk in before.quirks:
        if quirk.name == "precomplete-handshake":
            continue
        client.ask("POST", "/relay/v1/commands/adjust", {"settings": [f"{quirk.name}.enabled=false"]})
        assert quirk.name not in client.ask("GET", "/relay/v1/profile").json["enabled"]
        assert client.ask("POST", "/relay/v1/commands/adjust", {"settings": told["enable"][quirk.name]}).status == 200
        (again,) = [each for each in nat.profile.quirks if each.name == quirk.name]
        assert again.settings == quirk.settings
