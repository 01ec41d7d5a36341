"""Our own packetdrill scripts: each is played as it stands, and where sequence numbers wrap in its middle."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from support.packetdrill.folder import play_folder
from support.packetdrill.player import Numbers, play

FOLDER = Path(os.environ.get("RELAY_PKT_DIR", ""))
"""Scripts of other people's, which are not in this repository; each one's verdict is printed."""
SCRIPTS = sorted(Path(__file__).parent.rglob("*.pkt"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    for numbers in (Numbers(), Numbers(ours=0xFFFF_FFFF, theirs=0xFFFF_FF00), Numbers(0x7FFF_FFF0, 0x8000_0000)):
        play(text, numbers)


if FOLDER.name:

    def test_the_scripts_of_others(capsys: pytest.CaptureFixture[str]) -> None:
        verdicts = Counter[str]()
        with capsys.disabled():
            for outcome in play_folder(FOLDER):
                verdicts[outcome.verdict] += 1
                print(f"{outcome.verdict:16} {outcome.path.relative_to(FOLDER)}: {outcome.why}")  # noqa: T201
            print(dict(verdicts))  # noqa: T201 - this is for reading
        assert verdicts["pass"] > 0
        assert verdicts["fail"] == 0
