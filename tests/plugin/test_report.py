"""A failing test's report: ladders of the relay's flows, what was left to chance, and the command that repeats it."""

from __future__ import annotations

import re
import shlex

import pytest

from plugin.conftest import Suite, outcomes
from relay.ladder import runs_of
from relay.pytest_plugin.reporting import _drawn
from support.flow_records import Told, reset_flow

pytest_plugins = "pytester"

GAMBLING = """
    import socket
    from dataclasses import dataclass, replace

    from relay.actions import Note
    from relay.behaviours import Behaviour
    from relay.profiles import Quirk, load_profile

    @dataclass
    class Gambler(Behaviour):
        draws = True

        def on_dial_succeeded(self, event):
            yield Note(f"{self.chance()} {self.chance()}")

    transparent = load_profile("transparent")
    GAMBLING = replace(
        transparent, name="gambling", quirks=(*transparent.quirks, Quirk(Gambler, {}, "assumed", ()))
    )

    def draw(nat):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(60)
            address = nat.forward(*listener.getsockname())
            with socket.create_connection(address) as client, listener.accept()[0]:
                flow = nat.wait_for("flow-opened", client="%s:%s" % client.getsockname()).flow
                return nat.wait_for("note", flow=flow).fields["text"]
"""

GAMBLE = """
    from gambling import GAMBLING, draw

    pytestmark = pytest.mark.nat_relay(GAMBLING)

    @pytest.fixture(autouse=True)
    def tell(request, capsys):
        yield
        with capsys.disabled():
            print("DREW", request.node.nodeid, request.node.user_properties)

    @pytest.mark.parametrize("path", ["a", "b/$c"])
    def test_gamble(nat_relay, path, record_property):
        record_property("drew", [draw(nat_relay), draw(nat_relay)])
        assert path == "a"

    def test_gamble_at_two_tables(nat_relay_factory, record_property):
        nats = [nat_relay_factory(GAMBLING), nat_relay_factory(GAMBLING)]
        record_property("drew", [draw(nat) for nat in reversed(nats)])

    @pytest.mark.parametrize("run", [1, 2])
    def test_session(nat_relay_session, record_property, run):
        record_property("seed", nat_relay_session.seed)
"""


def drawn(result: pytest.RunResult) -> dict[str, str]:
    """What each test drew."""
    return dict(re.findall(r"DREW (\S+) (.*)", result.stdout.str()))


def section(result: pytest.RunResult, kind: str = "nat_relay event log") -> list[str]:
    """The lines of the only section of this kind."""
    starts = [number for number, line in enumerate(result.outlines) if re.fullmatch(f"-+ {kind} -+", line)]
    assert len(starts) == 1, result.outlines
    lines = result.outlines[starts[0] + 1 :]
    end = next(number for number, line in enumerate(lines) if re.match("[-=_]{4}", line))
    return lines[:end]


@pytest.fixture
def gamble(suite: Suite, pytester: pytest.Pytester) -> Suite:
    """Run tests that leave something to chance."""
    pytester.makepyfile(gambling=GAMBLING)
    return lambda *arguments: suite(GAMBLE, *arguments)


RESETTING = """
    import socket

    def ask(nat, *, marked):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(60)
            address = nat.forward(*listener.getsockname())
            with socket.create_connection(address) as client, listener.accept()[0] as server:
                if marked:
                    client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
                client.sendall(b"ping")
                server.recv(100)
                if marked:
                    nat.wait_for("fin-sent", because="tos-reset")

    def test_passes(nat_relay):
        ask(nat_relay, marked=True)

    def test_fails(nat_relay):
        ask(nat_relay, marked=True)
        ask(nat_relay, marked=False)
        nat_relay.wait_for("flow-ended", flow=2)
        assert 0
"""


def test_a_failing_test_shows_the_ladders_of_flows_that_a_behaviour_ended_and_a_line_for_others(suite: Suite) -> None:
    result = suite(RESETTING, "-rP")
    assert outcomes(result) == {"test_passes": "passed", "test_fails": "failed"}
    head, *lines, blank, repeat = section(result)
    assert re.fullmatch(r"vmware-fusion-11, seed \d+ of this relay alone \(--nat-seed is the run's\):", head)
    assert re.fullmatch(r"  +\d+\.\d{3} s  relay started with profile vmware-fusion-11", lines[0])
    assert re.fullmatch(r"#1 \S+ 127.0.0.1:\d+ asks for 127.0.0.1:\d+ via forward", lines[2])
    assert any("◀──────────── RST, by tos-reset ─┤" in line for line in lines)
    assert re.fullmatch(r"#2 \S+ ended by external-peer: .*", lines[lines.index("other flows:") + 1])
    assert len([line for line in lines if line.startswith("#")]) == 2
    assert blank == ""
    assert re.fullmatch(r'repeat with: pytest "test_it.py::test_fails" --nat-seed \d+', repeat)


def test_a_flow_that_is_open_when_the_test_fails_is_drawn(suite: Suite) -> None:
    result = suite("""
        import socket

        @pytest.fixture
        def client(nat_relay):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                with socket.create_connection(nat_relay.forward(*listener.getsockname())) as client:
                    yield client

        def test_fails(nat_relay, client):
            nat_relay.wait_for("flow-connected")
            assert 0
    """)
    lines = section(result)
    assert any("SYN-ACK after" in line for line in lines)
    assert any("open when the log ends, 0 B out, 0 B in" in line for line in lines)


def test_a_flow_that_a_behaviour_ended_is_drawn_however_many_were_late_after_it() -> None:
    told = Told()
    reset_flow(told, 1)
    for number in range(2, 40):
        told.open(number, number)
        told(number, "shape-changed", number, side="internal", effects=["delay_s=0.1"], because="latency")
        told.end(number + 0.1, number)
    (run,) = runs_of(told.records)
    assert [ladder.number for ladder in _drawn(run)] == [1, *range(31, 40)]


def test_of_very_many_flows_the_last_ladders_and_lines_are_shown(suite: Suite) -> None:
    result = suite("""
        import socket

        def test_many(nat_relay):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                address = nat_relay.forward(*listener.getsockname())
                for number in range(1, 81):
                    with socket.create_connection(address) as client, listener.accept()[0]:
                        if number % 4 == 0:
                            nat_relay.wait_for("flow-connected", flow=number)
                            nat_relay.link_down()
                    nat_relay.wait_for("flow-ended", flow=number)
            assert 0
    """)
    lines = section(result)
    drawn = [line for line in lines if " asks for " in line]
    assert [line.split()[0] for line in drawn] == [f"#{number}" for number in range(44, 84, 4)]
    assert "  ... 20 earlier ones" in lines


@pytest.mark.parametrize(
    ("fixture", "headline"),
    [
        ("assert 0, nat_relay\n            yield", "* ERROR at setup of test_one *"),
        ("yield\n            assert 0", "* ERROR at teardown of test_one *"),
    ],
    ids=["setup", "teardown"],
)
def test_a_fixture_that_fails_shows_it_too(suite: Suite, fixture: str, headline: str) -> None:
    result = suite(f"""
        @pytest.fixture
        def server(nat_relay):
            {fixture}

        def test_one(server):
            pass
    """)
    result.stdout.fnmatch_lines(
        [headline, "* nat_relay event log *", "*relay started*", 'repeat with: pytest "test_it*']
    )


def test_a_test_without_a_relay_shows_none(suite: Suite) -> None:
    result = suite("""
        def test_with(nat_relay, nat_relay_session):
            pass

        def test_without():
            assert 0
    """)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*nat_relay event log*")
    result.stdout.no_fnmatch_line("*nat-seed*")


def test_every_relay_of_the_test_is_in_it_and_of_a_shared_one_only_what_belongs_to_the_test(suite: Suite) -> None:
    result = suite(
        """
        def test_before(nat_relay_session):
            nat_relay_session.link_down()

        def test_fails(nat_relay_session, nat_relay, nat_relay_factory):
            nat_relay_session.freeze("external")
            nat_relay_factory("vmware-workstation-16")
            assert 0
        """,
        "--nat-profile",
        "transparent",
    )
    *log, blank, repeat = section(result)
    assert [re.sub(r"\d+\.\d+ s|seed \d+ [^:]*", "*", line).strip() for line in log] == [
        "transparent, *:",
        "*  the server is frozen",
        "",
        "transparent, *:",
        "*  relay started with profile transparent",
        "",
        "vmware-workstation-16, *:",
        "*  relay started with profile vmware-workstation-16",
    ]
    assert (blank, repeat.partition(" --nat-profile ")[2]) == ("", "transparent")


def test_of_a_long_log_the_end_is_shown(suite: Suite) -> None:
    result = suite("""
        def test_long(nat_relay):
            for _ in range(300):
                nat_relay.link_down()
            nat_relay.freeze("internal")
            assert 0
    """)
    _, left_out, *records, _, _ = section(result)
    assert left_out == "  ... 252 earlier records; nat_relay.events has them"
    assert len(records) == 50
    assert records[-1].endswith("the app is frozen")


def test_what_is_left_to_chance_follows_from_the_seed_and_the_tests_own_id(gamble: Suite) -> None:
    first = drawn(gamble("--nat-seed", "7"))
    assert len(set(first.values())) == len(first) == 5
    assert drawn(gamble("--nat-seed", "7")) == first
    assert drawn(gamble("--nat-seed", "7", "test_it.py::test_session[2]")) == {
        "test_it.py::test_session[2]": first["test_it.py::test_session[2]"]
    }
    other = drawn(gamble("--nat-seed", "8"))
    assert other.keys() == first.keys()
    assert not other.items() & first.items()


def test_without_a_seed_every_run_draws_anew_and_the_failing_test_tells_how_to_repeat_it(gamble: Suite) -> None:
    result = gamble()
    assert not drawn(result).items() & drawn(gamble()).items()
    *log, _, repeat = section(result)
    assert "b/$c" in repeat
    name = "test_it.py::test_gamble[b/$c]"
    values = re.findall(r"0\.\d+", drawn(result)[name])
    assert values
    for value in values:
        assert any(f"gambler drew {float(value):.6f}" in line for line in log)
    command, *arguments = shlex.split(repeat.removeprefix("repeat with: "))
    assert command == "pytest"
    assert drawn(gamble(*arguments)) == {name: drawn(result)[name]}
