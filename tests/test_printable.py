"""Text of a peer's making: on a terminal it is what it seems."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from relay.printable import escape_unprintable
from support.capabilities import missing
from support.forks import relay_in_fork
from support.origins import Origin, echo
from support.programs import serve

_CALL_AS = """
import socket, sys
open("/proc/self/comm", "wb").write(sys.argv[2].encode())
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
    sock.sendall(b"x")
    sock.recv(1)
    print("echoed", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ssh", "ssh"),
        ("Größe 日本 \u05d0\u0301 \U0001f600", "Größe 日本 \u05d0\u0301 \U0001f600"),
        ("a\xa0b\u3000c", "a\xa0b\u3000c"),
        ("\x1b[2Ja\r\nb\x9b\t", "\\x1b[2Ja\\r\\nb\\x9b\\t"),
        ("gnp\u202efdp", "gnp\\u202efdp"),
        ("\u2066a\u2069\u061c", "\\u2066a\\u2069\\u061c"),
        ("a\u200bb\u200dc\u2060\ufeff\xad", "a\\u200bb\\u200dc\\u2060\\ufeff\\xad"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\ue000\U000e0041\u0378", "\\ue000\\U000e0041\\u0378"),
        ("a\u3164b\u115f\ufe0f\U000e0100", "a\\u3164b\\u115f\\ufe0f\\U000e0100"),
        ("\udcff", "\\udcff"),
    ],
    ids=ascii,
)
def test_what_a_terminal_obeys_or_does_not_show_is_escaped(text: str, shown: str) -> None:
    assert escape_unprintable(text) == shown


def test_of_all_characters_only_spaces_are_left_that_python_escapes() -> None:
    kept = [
        character for character in map(chr, range(sys.maxunicode + 1)) if escape_unprintable(character) == character
    ]
    assert {unicodedata.category(character) for character in kept if not character.isprintable()} == {"Zs"}
    assert all(escape_unprintable(character).isascii() for character in set(map(chr, range(0x3000))) - set(kept))


def test_a_complaint_escapes_what_it_quotes() -> None:
    done = relay_in_fork("serve", "--listen", "127.0.0.1:0", "--port-file", "/none/a\u202eb\nc")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "relay: --port-file: cannot write /none/a\\u202eb\\nc: No such file or directory"
    )


@pytest.mark.system
def test_the_log_on_the_terminal_escapes_a_process_name(backend: str, tmp_path: Path) -> None:
    if sys.platform != "linux":
        missing("processes are found by sock_diag")
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--forward", f"0:{origin.target}") as served,
        subprocess.Popen(
            [sys.executable, "-c", _CALL_AS, str(served.ports[1]), "gnp\u202efdp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as app,
    ):
        assert app.stdout is not None
        assert app.stdout.readline() == b"echoed\n"
        process = served.wait_for("flow-connected")["process"]
        app.communicate(timeout=60)
        told = served.wait_for_stderr("ended by")
    assert (process["name"], served.events_file.read_bytes().isascii()) == ("gnp\u202efdp", True)
    assert ("  gnp\\u202efdp[" in told, "\u202e" in told) == (True, False)
