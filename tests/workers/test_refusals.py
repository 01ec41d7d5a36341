"""What keeps several workers from starting: said in one line, by their parent."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.forks import relay_in_fork
from support.origins import Origin, echo
from support.programs import serve

pytestmark = pytest.mark.system


def complaint(*arguments: str) -> tuple[int, list[str]]:
    """The exit code and the lines on stderr of a `relay serve` that is to end by itself."""
    done = relay_in_fork("serve", *arguments, RELAY_LISTEN="127.0.0.1:0")
    return done.returncode, done.stderr.splitlines()


def test_no_process_shares_a_port_unseen(backend: str, tmp_path: Path) -> None:
    two = ("--backend", backend, "--workers", "2")
    with Origin(echo) as other, serve(tmp_path, *two) as served:
        for port, workers in ((served.port, two), (served.port, two[:2]), (other.port, two)):
            assert complaint(*workers, "--listen", f"127.0.0.1:{port}") == (
                2,
                [
                    f"relay: --listen: cannot listen on 127.0.0.1:{port}: address already in use",
                    "hint: another program listens there; choose another port, or port 0 to have one picked",
                ],
            )
        code, lines = complaint(*two, "--forward", f"{served.port}:127.0.0.1:9")
        assert (code, lines[0].partition(" on ")[0]) == (2, "relay: --forward: cannot listen")


def test_what_a_worker_cannot_do_is_its_parent_s_error(backend: str) -> None:
    lone = ("--set", "local-keepalive.enabled=false")
    code, lines = complaint("--backend", backend, "--workers", "2", "--strict", "--observer", "none", *lone)
    assert code == 3
    assert len(lines) == 2
    assert lines[0].startswith("relay: --strict: this host cannot show tos-reset")
    assert lines[1].startswith("hint: ")


def test_a_port_file_that_cannot_be_written_ends_the_workers(backend: str, tmp_path: Path) -> None:
    code, lines = complaint("--backend", backend, "--workers", "2", "--port-file", f"{tmp_path}/none/ports")
    assert (code, len(lines)) == (2, 2)
    assert lines[0].startswith("relay: --port-file: cannot write ")
