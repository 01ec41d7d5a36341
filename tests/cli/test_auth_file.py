"""`--auth-file`: the password is asked for, and `ps` does not show it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from support.clients import PASSWORD, USER
from support.forks import relay_in_fork
from support.origins import read_exactly
from support.programs import serve


def login(port: int, password: bytes) -> bytes:
    """What a SOCKS5 proxy says to the user with this password (RFC 1929)."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(b"\x05\x01\x02")
        assert read_exactly(sock, 2) == b"\x05\x02"
        user = USER.encode()
        sock.sendall(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        return read_exactly(sock, 2)


@pytest.mark.parametrize(("by", "end"), [("option", "\r\n"), ("environment", "")])
def test_the_one_line_says_who_may_use_the_proxy(by: str, end: str, backend: str, tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.write_text(f"{USER}:{PASSWORD}{end}", newline="")
    option = ("--auth-file", str(path)) if by == "option" else ()
    variable = str(path) if by == "environment" else ""  # which counts as not set
    with serve(tmp_path, "--backend", backend, *option, RELAY_AUTH_FILE=variable) as served:
        assert login(served.port, PASSWORD.encode()) == b"\x01\x00"
        assert login(served.port, b"wrong") == b"\x01\x01"
        if sys.platform == "linux":
            assert PASSWORD.encode() not in Path(f"/proc/{served.process.pid}/cmdline").read_bytes()


def test_a_password_may_be_any_bytes(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.write_bytes(USER.encode() + b":\xff:\x00\n")
    with serve(tmp_path, "--backend", backend, "--auth-file", str(path)) as served:
        assert login(served.port, b"\xff:\x00") == b"\x01\x00"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "not of the form USER:PASS"),
        ("me\n", "not of the form USER:PASS"),
        ("\nme:secret\n", "more than one line"),
        ("me:secret\nyou:secret\n", "more than one line"),
        (f"me:{'x' * 256}", "user or password is too long"),
        (f"me:{'x' * 4096}\n", "user or password is too long"),
    ],
    ids=lambda text: text[:12],
)
def test_a_file_that_holds_something_else_is_named_and_not_quoted(content: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.write_text(content)
    done = relay_in_fork("serve", "--listen", "127.0.0.1:0", "--auth-file", str(path))
    complaint, hint = done.stderr.splitlines()
    assert (done.returncode, complaint) == (2, f"relay: --auth-file: {path}: {why}")
    assert hint.startswith("hint: ")
    assert "secret" not in done.stderr
