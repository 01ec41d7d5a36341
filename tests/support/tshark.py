"""What Wireshark makes of a capture file, in its own words; a file that it complains of is an AssertionError."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.capabilities import need_program
from support.programs import as_ordinary_user, run


def read_fields(path: Path, *fields: str, options: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The values of these fields, of every packet; `options` are more of tshark's own.

    Sequence numbers are those in the packets, and checksums are checked.
    """
    wanted = [word for field in fields for word in ("-e", field)]
    told = _tshark(path, "-T", "fields", *wanted, *options)
    return [tuple(line.split("\t")) for line in told.splitlines()]


def read_blocks(path: Path) -> list[dict[str, Any]]:
    """The blocks of the file itself."""
    told = _tshark(path, "-X", "read_format:MIME Files Format", "-T", "json", "--no-duplicate-keys")
    packets: list[dict[str, Any]] = json.loads(told)
    blocks: list[dict[str, Any]] = packets[0]["_source"]["layers"]["file-pcapng"]["pcapng.block"]
    return blocks


def _tshark(path: Path, *arguments: str) -> str:
    # As an ordinary user: root is warned of being root.
    preferences: Sequence[str] = (
        "tcp.relative_sequence_numbers:FALSE",
        "tcp.check_checksum:TRUE",
        "ip.check_checksum:TRUE",
    )
    spelt = [word for preference in preferences for word in ("-o", preference)]
    done = run(
        *as_ordinary_user(),
        need_program("tshark"),
        *spelt,
        "-r",
        str(path),
        *arguments,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
