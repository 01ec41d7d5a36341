"""`when`: what each condition fits, what is refused, and how a lineup is narrowed."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from relay.abilities import Ability, Want
from relay.actions import Note
from relay.address import Endpoint
from relay.behaviours import ALWAYS, Actions, Behaviour, Lineup, When, read_condition, read_when
from relay.errors import ConfigError
from relay.events import LinkWentDown, TosChanged
from relay.machine import FlowMachine
from relay.profiles import Evidence, load_profile

SERVER = Endpoint("api.test", 443)
CURL = (4711, "curl")


@pytest.mark.parametrize(
    ("when", "destination", "fits"),
    [
        (When(), SERVER, True),
        (When(host="api.test"), SERVER, True),
        (When(host="API.test."), SERVER, True),
        (When(host="api.test"), Endpoint("API.TEST.", 443), True),
        (When(host="pi.test"), SERVER, False),
        (When(host="*.test"), SERVER, True),
        (When(host="db.test,*.com,api.*"), SERVER, True),
        (When(host="*"), SERVER, True),
        (When(host="192.0.2.1"), Endpoint("192.0.2.1", 1), True),
        (When(host="192.0.2.1"), SERVER, False),
        (When(host="192.0.2.0/24"), Endpoint("192.0.2.255", 1), True),
        (When(host="192.0.2.0/24"), Endpoint("192.0.3.1", 1), False),
        (When(host="192.0.2.0/24"), SERVER, False),
        (When(host="2001:db8::/32"), Endpoint("2001:db8::1", 1), True),
        (When(host="[2001:db8::1]"), Endpoint("2001:db8:0::1", 1), True),
        (When(port="443"), SERVER, True),
        (When(port="80"), SERVER, False),
        (When(port="80,400-500"), SERVER, True),
        (When(port="444-500"), SERVER, False),
        (When(port="0-65535"), SERVER, True),
        (When(host="api.test", port="80"), SERVER, False),
    ],
)
def test_a_destination_fits(when: When, destination: Endpoint, fits: bool) -> None:
    assert when.fits(destination, None) is fits


@pytest.mark.parametrize(
    ("process", "fits"),
    [("curl", True), ("cur*", True), ("wget,curl", True), ("*", True), ("4711", True), ("url", False), ("471", False)],
)
def test_a_process_fits_by_its_name_or_pid(process: str, fits: bool) -> None:
    assert When(process=process).fits(SERVER, CURL) is fits
    assert not When(process=process).fits(SERVER, None)


def test_connections_are_counted_from_one() -> None:
    assert [When(nth=2).holds_for(number) for number in (1, 2, 3, 4)] == [False, True, False, False]
    assert [When(first=2).holds_for(number) for number in (1, 2, 3)] == [True, True, False]
    assert When().holds_for(10**6)
    assert [when.counts for when in (When(), When(host="a"), When(nth=1), When(first=1))] == [False, False, True, True]


def test_a_file_may_have_numbers_and_lists() -> None:
    table = {"host": ["api.test", "192.0.2.0/24"], "port": [80, "8000-8099"], "process": 17, "first": 3, "share": 1}
    when = When(host="api.test,192.0.2.0/24", port="80,8000-8099", process="17", first=3)
    assert read_when(table, where="x") == when
    assert when.given == {"host": when.host, "port": when.port, "process": "17", "first": 3}
    assert pickle.loads(pickle.dumps(when)) == when  # noqa: S301 - as workers get it


@pytest.mark.parametrize(
    ("table", "says", "hints"),
    [
        (3, "x: 3 is not a table", "e.g. when = {"),
        ({"hots": "a"}, "x.hots: when has no setting 'hots'", "did you mean host? its settings: host, "),
        ({"host": True}, "x.host: true is not a string", "host: "),
        ({"host": []}, "x.host: [] is not a string", "host: "),
        ({"host": ""}, "x.host: it is empty", "leave it out to have no such condition; * is every host"),
        ({"port": ""}, "x.port: it is empty", "0-65535 is every port"),
        ({"process": ""}, "x.process: it is empty", "* is every process"),
        ({"process": [""]}, "x.process: it is empty", "* is every process"),
        ({"host": "a,,b"}, "x.host: '' is empty", "host: "),
        ({"host": "a, b"}, "x.host: ' b' is empty, or has a space beside it", "host: "),
        ({"host": "192.0.2.0/33"}, "x.host: '192.0.2.0/33' is no network", "host: "),
        ({"host": "api.test:443"}, "x.host: 'api.test:443' is no host: its port is", "host: "),
        ({"port": 65536}, "x.port: '65536' is no port, or range", "port: "),
        ({"port": "https"}, "x.port: 'https' is no port, or range", "port: "),
        ({"port": "20-10"}, "x.port: '20-10' is no port, or range", "port: "),
        ({"nth": 0.5}, "x.nth: 0.5 is not an integer", "nth: "),
        ({"first": -1}, "x.first: -1 is not an integer from 0", "first: "),
        ({"share": 2}, "x.share: 2.0 is not a number from 0 to 1", "share: "),
        ({"nth": 1, "first": 2}, "x: nth and first exclude each other", "leave one out"),
    ],
)
def test_what_is_wrong_is_named(table: object, says: str, hints: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_when(table, where="x")
    assert str(caught.value).startswith(says)
    assert hints in caught.value.hint


def test_a_command_line_gives_one_condition_after_the_other() -> None:
    when = read_condition(read_condition(ALWAYS, "port", "443", where="x"), "first", "0x10", where="x")
    assert when == When(port="443", first=16)
    with pytest.raises(ConfigError, match="x: it is empty"):
        read_condition(when, "port", "", where="x")
    with pytest.raises(ConfigError, match="x: nth and first exclude each other"):
        read_condition(when, "nth", "1", where="x")


# In profiles


def test_set_lays_conditions_over_the_profile() -> None:
    profile = load_profile(
        "vmware-fusion", ["latency.when.host=a.test", "latency.when.nth=2", "tos-reset.when.port=22"]
    )
    whens = {quirk.name: (quirk.when, quirk.status) for quirk in profile.quirks}
    assert whens["latency"] == (When(host="a.test", nth=2), "assumed")
    assert whens["tos-reset"] == (When(port="22"), "assumed"), "it was observed without a condition"
    assert whens["local-ack"][0] == ALWAYS
    evidence = next(quirk.evidence for quirk in profile.quirks if quirk.name == "tos-reset")
    assert evidence[0] == Evidence("--set tos-reset.when.port=22", "set on the command line")


@pytest.mark.parametrize(
    ("text", "says", "hints"),
    [
        ("latency.when.hots=a", "when has no setting 'hots'", "did you mean host?"),
        ("latency.when=a", "no condition", "latency.when.first=3; the conditions: host, port, process, nth, first, "),
        ("latency.when.port=x", "'x' is no port", "port: "),
        ("latency.when.host=", "it is empty", "leave it out"),
        ("close-mapping.when.nth=1", "close-mapping is there for every connection", "leave out when"),
        ("stack.when.nth=1", "stack has no setting 'when.nth'", ""),
    ],
)
def test_a_wrong_condition_on_the_command_line_is_named(text: str, says: str, hints: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile("transparent", [text])
    assert str(caught.value).startswith(f"--set {text}: {says}")
    assert hints in caught.value.hint


# In a machine


@dataclass(frozen=True)
class Careful(Behaviour):
    """Wants something of a leg."""

    def wants(self) -> tuple[Want, ...]:
        return (Want(Ability.TOS, mask=1),)

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        yield Note("careful")


@dataclass
class Plain(Behaviour):
    """Wants nothing."""

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        yield Note("plain")

    def on_tos_changed(self, event: TosChanged) -> Actions:
        return ()

    def wants(self) -> tuple[Want, ...]:
        return ()


def test_a_flow_asks_only_the_behaviours_whose_conditions_hold() -> None:
    lineup = Lineup([Careful, Plain, Plain], [Careful, Plain, Plain], [When(nth=1), ALWAYS, When(port="1")])
    assert [(each.place, each.name) for each in lineup.conditional] == [(0, "careful"), (2, "plain")]
    assert not lineup.names_process
    assert lineup.wants == (Want(Ability.TOS, mask=1),)
    machine = FlowMachine(lineup.unconditional)
    assert asked(machine) == ["plain"]
    machine.go_on_with(lineup.having(frozenset({2})))
    assert asked(machine) == ["plain", "plain"]
    machine.go_on_with(lineup.having(frozenset({0, 2})))
    assert asked(machine) == ["careful", "plain", "plain"]
    assert lineup.having(frozenset({0, 2})) is lineup
    assert lineup.having(frozenset({2})) is lineup.having(frozenset({2})), "made once for all flows"
    assert lineup.having(frozenset({2})).wants == lineup.unconditional.wants == ()


def asked(machine: FlowMachine) -> list[str]:
    texts = [step.action for step in machine.handle(LinkWentDown(1.0))]
    return [action.text for action in texts if isinstance(action, Note)]


def test_a_lineup_without_conditions_is_its_own_beginning() -> None:
    lineup = Lineup([Plain], [Plain])
    assert lineup.unconditional is lineup
