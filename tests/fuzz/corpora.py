"""The inputs that are kept, in `corpus/TARGET/`: one small file each, named for what it shows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from fuzz.targets import Target

CORPUS = Path(__file__).with_name("corpus")
_LARGEST_BYTES = 1500
_AT_MOST = 6  # of one run, the smallest: what came of them differs, but not for ever in ways that matter


def kept(target: Target) -> list[Path]:
    """The files of one target, by name."""
    return sorted(path for path in CORPUS.joinpath(target.name).glob("*") if path.is_file())


def keep(target: Target, found: Iterable[bytes]) -> list[Path]:
    """Add the smallest input for each outcome that none of those kept has; returns the new files."""
    known = {_name(target.check(path.read_bytes())) for path in kept(target)}
    best: dict[str, bytes] = {}
    for data in sorted(found, key=lambda data: (len(data), data)):
        name = _name(target.check(data)) if len(data) <= _LARGEST_BYTES else ""
        if name and name not in known:
            best.setdefault(name, data)
    added = []
    for name, data in list(best.items())[:_AT_MOST]:
        path = CORPUS / target.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        added.append(path)
    return added


def _name(outcome: str) -> str:
    """An outcome as a file name: without what the input itself said, and without numbers, which are many."""
    plain = re.sub(r"""b?'[^']*'|b?"[^"]*"|\b(0x[0-9a-f]+|[0-9]+)\b""", "", outcome.lower())
    return "-".join(re.findall("[a-z0-9]+", plain))[:64].rstrip("-")
