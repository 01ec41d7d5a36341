"""A relay for a test comes and goes quickly and leaves nothing behind; the plugin alone costs next to nothing."""

from __future__ import annotations

import re
import statistics
import sys
import textwrap
from pathlib import Path

from plugin.conftest import Suite
from support.capabilities import missing
from support.programs import run

pytest_plugins = "pytester"

START_MS, STOP_MS = 30, 100
MOST_KEPT_BYTES = 30_000  # of a test, on average: its report has 5,000, a relay 300,000


def test_a_relay_starts_in_30_ms_and_stops_in_100(suite: Suite, backend: str) -> None:
    source = f"""
        @pytest.mark.nat_relay("vmware-fusion", backend={backend!r})
        @pytest.mark.parametrize("number", range(40))
        def test_one(nat_relay, number):
            pass
    """
    conftest = """
        def pytest_runtest_logreport(report):
            print("TOOK", report.when, report.duration * 1000)
    """
    result = suite(source, "-s", conftest=conftest)
    result.assert_outcomes(passed=40)
    took = re.findall(r"TOOK (\w+) ([\d.]+)", result.stdout.str())
    starts, stops = ([float(ms) for when, ms in took if when == phase] for phase in ("setup", "teardown"))
    assert len(starts) == len(stops) == 40
    assert statistics.median(starts) < START_MS  # 8 ms on a busy host with two cores
    assert statistics.median(stops) < STOP_MS, sorted(stops)


def test_no_thread_socket_or_warning_is_left_behind(suite: Suite, backend: str) -> None:
    source = f"""
        import os, socket, threading

        def threads():  # without those that trio keeps for a while, for the next use
            return {{thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}}

        def sockets():
            links = [f"/proc/self/fd/{{number}}" for number in os.listdir("/proc/self/fd")]
            return {{os.readlink(link) for link in links if os.path.islink(link)}}

        def state():
            return threads(), sockets(), "setsockopt" in vars(socket.socket)

        @pytest.fixture(autouse=True)
        def nothing_left():
            before = state()
            yield before
            assert state() == before

        @pytest.mark.nat_relay("vmware-fusion", backend={backend!r})
        def test_passes(nothing_left, nat_relay):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.settimeout(60)
                with socket.create_connection(nat_relay.forward(*listener.getsockname())), listener.accept()[0]:
                    assert state() != nothing_left

        @pytest.mark.xfail(strict=True, raises=ZeroDivisionError)
        @pytest.mark.nat_relay("vmware-fusion", backend={backend!r})
        def test_fails(nat_relay):
            1 / 0

        @pytest.mark.xfail(strict=True)
        @pytest.mark.nat_relay(backend={backend!r}, forwards=["0:127.0.0.1:9", "192.0.2.1:0:127.0.0.1:9"])
        def test_does_not_start(nat_relay):
            pass
    """
    suite(source).assert_outcomes(passed=1, xfailed=2)


def test_after_its_report_nothing_of_a_test_s_relay_is_held(tmp_path: Path, backend: str) -> None:
    if sys.platform != "linux":
        missing("what most profiles need to see is seen on Linux alone, and the fixtures are strict")
    source = f"""
        import gc, pytest, tracemalloc
        from relay.server import Relay
        from relay.testing import RunningRelay

        @pytest.mark.nat_relay(backend={backend!r})
        @pytest.mark.parametrize("number", range(25))
        def test_one(nat_relay, nat_relay_factory, nat_relay_session, number):
            nat_relay_factory(backend={backend!r})
            if number == 5:
                tracemalloc.start()
            assert number % 5

        def test_another():
            assert False  # Python keeps the traceback of the last failure, and with it what the test had

        def test_last(nat_relay_session):
            gc.collect()
            grown_bytes, _ = tracemalloc.get_traced_memory()
            held = [type(each).__name__ for each in gc.get_objects() if isinstance(each, Relay | RunningRelay)]
            print("HELD", *sorted(held), "GROWN", grown_bytes)
    """
    (tmp_path / "test_it.py").write_text(textwrap.dedent(source))
    # In a process of its own, for pytester's runs in this one keep every failure's traceback.
    command = [sys.executable, "-m", "pytest", "-rP", "-pno:cacheprovider", "-pno:hypothesispytest", "--rootdir", "."]
    done = run(*command, cwd=tmp_path)
    assert "6 failed, 21 passed" in done.stdout, done.stdout + done.stderr
    found = re.search(r"HELD (.*) GROWN (\d+)", done.stdout)
    assert found is not None
    assert found[1] == "Relay RunningRelay"  # the session's
    assert int(found[2]) / 20 < MOST_KEPT_BYTES


def test_without_the_plugin_there_is_no_trace_of_it(suite: Suite) -> None:
    result = suite("def test_one(pytestconfig): assert not hasattr(pytestconfig.option, 'nat_seed')", "-pno:nat_relay")
    result.assert_outcomes(passed=1)


def test_what_a_test_has_frozen_or_slowed_down_is_as_before_in_the_next(suite: Suite) -> None:
    result = suite("""
        from relay.control import ListFaults, SetFault
        from relay.events import Side
        from relay.fault import Fault
        from relay.shape import Shape

        def test_first(nat_relay_session):
            nat_relay_session.freeze("server")
            nat_relay_session.do(SetFault("slow", Fault(side=Side.INTERNAL, shape=Shape(stall=True))))
            assert 0

        def test_second(nat_relay_session):
            assert nat_relay_session.do(ListFaults()) == []
            assert [record.event for record in nat_relay_session.events][-2:] == ["thawed", "fault-lifted"]
    """)
    result.assert_outcomes(passed=1, failed=1)
