"""A fault inside the relay or a behaviour fails the test that used it, and names the flow, with the traceback."""

from __future__ import annotations

import pytest

from plugin.conftest import Suite, outcomes

pytest_plugins = "pytester"

BROKEN = """
    import socket
    from contextlib import suppress
    from dataclasses import dataclass, replace

    import relay.driver.dialling
    from relay.behaviours import Behaviour
    from relay.profiles import Quirk, load_profile

    @dataclass
    class Broken(Behaviour):
        def on_dial_succeeded(self, event):
            raise ZeroDivisionError("a bug of the behaviour's")

    transparent = load_profile("transparent")
    BROKEN = replace(transparent, quirks=(*transparent.quirks, Quirk(Broken, {}, "assumed", ())))

    def connect(nat):
        with socket.create_server(("127.0.0.1", 0)) as listener, suppress(ConnectionResetError):
            with socket.create_connection(nat.forward(*listener.getsockname()), timeout=60) as client:
                client.recv(1)
"""
_FAULT = "nat_relay: fault in flow #{}: behaviour 'broken' failed on DialSucceeded: ZeroDivisionError: a bug of *"
_LINE = '*raise ZeroDivisionError("a bug of the behaviour\'s")'


@pytest.fixture
def broken(suite: Suite, pytester: pytest.Pytester) -> Suite:
    """Run tests that have a behaviour with a bug."""
    pytester.makepyfile(broken=BROKEN)
    return suite


def test_a_fault_of_a_behaviour_fails_the_test_whose_relay_it_was(broken: Suite) -> None:
    result = broken("""
        from broken import BROKEN, connect

        @pytest.mark.nat_relay(BROKEN)
        def test_own(nat_relay):
            connect(nat_relay)
            connect(nat_relay)

        def test_another(nat_relay, nat_relay_factory):
            nat_relay_factory(BROKEN)
    """)
    assert outcomes(result) == {"test_own": "failed", "test_another": "passed"}
    result.stdout.fnmatch_lines(
        ["_* test_own _*", _FAULT.format(1), "Traceback *", _LINE, _FAULT.format(2), "Traceback *", _LINE]
    )
    result.stdout.no_fnmatch_line("*BehaviourError*")
    result.stdout.fnmatch_lines(["-* nat_relay event log -*", "#1 *", "*fault: behaviour 'broken' failed on *"])


def test_a_fault_of_the_relays_own_does_so_too(broken: Suite) -> None:
    result = broken("""
        import relay.driver.dialling
        from broken import connect

        def test_own(nat_relay, monkeypatch):
            def fail(*_):
                raise LookupError("a bug of ours")

            monkeypatch.setattr(relay.driver.dialling.Dialling, "begin", fail)
            connect(nat_relay)
    """)
    assert outcomes(result) == {"test_own": "failed"}
    result.stdout.fnmatch_lines(
        ["nat_relay: fault in flow #1: LookupError: a bug of ours", '*raise LookupError("a bug of ours")']
    )


def test_a_test_that_fails_anyway_shows_the_fault_beside_its_own_failure(broken: Suite) -> None:
    result = broken("""
        from broken import BROKEN, connect

        @pytest.mark.nat_relay(BROKEN)
        def test_own(nat_relay):
            connect(nat_relay)
            assert nat_relay.wait_for("flow-ended").fields["because"] == "tos-reset"
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert nat_relay.wait_for(*", "-* nat_relay faults -*", _FAULT.format(1), _LINE])


def test_a_fault_behind_the_test_is_an_error_of_its_teardown(broken: Suite) -> None:
    result = broken("""
        from broken import BROKEN, connect

        @pytest.fixture
        def late(nat_relay):
            yield
            connect(nat_relay)

        @pytest.mark.nat_relay(BROKEN)
        def test_own(late):
            pass
    """)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["* ERROR at teardown of test_own *", _FAULT.format(1), _LINE])


def test_of_a_shared_relay_only_the_test_that_met_the_fault_fails(broken: Suite, pytester: pytest.Pytester) -> None:
    source = """
        import relay.driver.dialling
        from broken import connect

        def test_before(nat_relay_session):
            pass

        def test_own(nat_relay_session, monkeypatch):
            monkeypatch.setattr(relay.driver.dialling.Dialling, "begin", lambda *_: 1 / 0)
            connect(nat_relay_session)

        def test_after(nat_relay_session):
            pass
    """
    assert outcomes(broken(source)) == {"test_before": "passed", "test_own": "failed", "test_after": "passed"}


def test_the_ini_file_makes_a_warning_of_it(broken: Suite) -> None:
    source = """
        from broken import BROKEN, connect

        @pytest.mark.nat_relay(BROKEN)
        def test_own(nat_relay):
            for _ in range(5):
                connect(nat_relay)
    """
    result = broken(source, "-W", "default", ini="nat_faults = warn")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [f"*PytestWarning: {_FAULT.format(1)}", "*... and 2 more faults; nat_relay.events has *"]
    )
    assert broken(source, ini="nat_faults = ignore").ret is pytest.ExitCode.USAGE_ERROR


def test_what_a_client_did_wrong_is_no_fault(suite: Suite) -> None:
    result = suite("""
        import socket

        def test_own(nat_relay):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.settimeout(60)
                with socket.create_connection(nat_relay.address, timeout=60) as client:
                    port = listener.getsockname()[1]
                    client.sendall(b"GET http://127.0.0.1:%d/ HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" % port)
                    with listener.accept()[0] as server:
                        server.recv(1000)
                        server.sendall(b"no HTTP at all\\r\\n\\r\\n")
                        client.recv(1000)
            assert nat_relay.wait_for("fault").fields["traceback"] is None
    """)
    result.assert_outcomes(passed=1)
