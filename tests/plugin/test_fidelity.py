"""A verdict that depends on this host says so: in the report of the test, and once at the top of the run."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from plugin.conftest import Suite, outcomes
from support.programs import as_ordinary_user, run

pytest_plugins = "pytester"

_HEADER = "nat_relay: not exact on this host, and tests may depend on it:"
_LOCAL_ACK = "local-ack is approximate: the relay's kernel acknowledges first; *"
_RESET = "is approximate: the app of a dead server is reset (ECONNRESET), where it should get no answer (ETIMEDOUT): *"

DEAD_SERVER = """
    import errno, socket, pytest

    @pytest.mark.nat_relay("transparent")
    def test_a_dead_server_is_found_dead(nat_relay):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with socket.create_connection(nat_relay.forward(*listener.getsockname()), timeout=20) as client:
                for name, value in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
                    client.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                nat_relay.wait_for("flow-connected")
                nat_relay.freeze("external")
                with pytest.raises(OSError) as caught:
                    client.recv(1)
        assert caught.value.errno == errno.ETIMEDOUT
"""


def test_a_test_that_fails_lists_what_this_host_shows_otherwise(suite: Suite) -> None:
    result = suite("""
        @pytest.mark.nat_relay("transparent", observer="none", strict=False)
        def test_fails(nat_relay):
            assert 0

        @pytest.mark.nat_relay("transparent", observer="none", strict=False)
        def test_passes(nat_relay):
            pass

        def test_without():
            assert 0
    """)
    result.assert_outcomes(failed=2, passed=1)
    told = [f"transparent: close-mapping {_RESET}", "transparent: local-keepalive is impossible: *", _LOCAL_ACK]
    result.stdout.fnmatch_lines([_HEADER, *(f"*{line}" for line in told)])
    result.stdout.fnmatch_lines(
        [
            "_* test_fails _*",
            "-* nat_relay fidelity -*",
            "This host shows not all of it exactly; *",
            *(f"*{line}" for line in told),
        ]
    )
    assert result.outlines.count(_HEADER) == 1
    assert sum("nat_relay fidelity" in line for line in result.outlines) == 1


def test_the_header_names_each_quirk_once_with_the_profiles_that_have_it(suite: Suite) -> None:
    source = """
        @pytest.mark.nat_relay(["vmware-fusion", "transparent"], observer="none", strict=False)
        @pytest.mark.parametrize("n", range(3))
        def test_several(nat_relay, n):
            pass

        @pytest.mark.nat_relay("vmware-fuson")
        def test_wrong(nat_relay):
            pass

        @pytest.mark.nat_relay("vmware-workstation", observer="none", strict=False)
        def test_another(nat_relay):
            pass
    """
    lines = suite(source).outlines
    (tos,) = [line for line in lines if "tos-reset is impossible" in line]
    assert tos.startswith("  vmware-fusion-11, vmware-workstation-14: tos-reset")
    (ack,) = [line for line in lines if "local-ack is approximate" in line]
    assert ack.startswith("  transparent: local-ack")


def test_a_test_that_asks_for_what_is_wrong_says_so_itself(suite: Suite) -> None:
    source = """
        from relay.behaviours import Behaviour

        class Wrong(Behaviour):
            def wants(self):
                raise LookupError("a bug of the behaviour's")

        @pytest.mark.nat_relay("transparent", behaviours=[Wrong])
        def test_broken(nat_relay):
            pass

        def test_another(nat_relay):
            pass
    """
    assert outcomes(suite(source)) == {"test_broken": "error", "test_another": "passed"}


@pytest.mark.parametrize("source", ["def test_one(): pass", "def test_one(nat_relay): pass"], ids=["unused", "exact"])
def test_a_run_that_depends_on_none_has_no_header(suite: Suite, source: str) -> None:
    result = suite(f"@pytest.mark.parametrize('n', [1])\n{source.replace('(', '(n, ')}", "--nat-profile=vmware-fusion")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*not exact*")


def test_an_ordinary_user_reads_why_a_dead_server_resets_where_root_gets_no_answer(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(textwrap.dedent(DEAD_SERVER))
    command = (sys.executable, "-m", "pytest", "-pno:cacheprovider", "-pno:hypothesispytest", "--rootdir", ".")
    by_root = run(*command, cwd=tmp_path)
    assert by_root.returncode == 0, by_root.stdout + by_root.stderr
    assert "ECONNRESET" not in by_root.stdout
    by_user = run(*as_ordinary_user(), *command, cwd=tmp_path)
    assert "1 failed" in by_user.stdout, by_user.stdout + by_user.stderr
    top, _, report = by_user.stdout.partition("= FAILURES =")
    for place in (top.partition(_HEADER)[2], report.partition("- nat_relay fidelity -")[2]):
        assert "transparent: close-mapping is approximate: the app of a dead server is reset (ECONNRESET)" in place
        assert "; remedy: " in place
