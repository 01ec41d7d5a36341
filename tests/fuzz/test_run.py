"""Fuzzing by hand: what is said to somebody who gives the wrong words, or lacks atheris, and what is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fuzz import corpora
from fuzz.targets import TARGETS
from support.programs import clean_environment, run

pytestmark = pytest.mark.system

RUN = str(Path(__file__).with_name("run.py"))


@pytest.mark.parametrize(
    "words", [(), ("socks5",), ("socks5", "long"), ("socks6", "keep")], ids=["nothing", "target", "no number", "typo"]
)
def test_the_wrong_words_are_met_with_all_targets(words: tuple[str, ...]) -> None:
    outcome = run(sys.executable, RUN, *words, env=clean_environment())
    assert outcome.returncode == 2
    assert f"hint: the targets: {', '.join(TARGETS)}\n" in outcome.stderr


def test_without_atheris_it_says_how_to_get_it(tmp_path: Path) -> None:
    tmp_path.joinpath("atheris.py").write_text("raise ModuleNotFoundError('as where it is not installed')\n")
    outcome = run(sys.executable, RUN, "socks5", "1", env=clean_environment(PYTHONPATH=str(tmp_path)))
    assert (outcome.returncode, outcome.stdout) == (3, "")
    assert "hint: pip install atheris" in outcome.stderr


def test_one_input_is_kept_for_each_new_outcome_the_smallest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "CORPUS", tmp_path)
    target = TARGETS["socks4"]
    connect, unknown = b"\x04\x01\0\x50\x7f\0\0\x01\0", b"\x04\x03\0\x50\x7f\0\0\x01\0"
    (first,) = corpora.keep(target, [connect + b"early", connect, connect[:5] + b"\x08" + connect[6:] + b"x"])
    assert (first.name, first.read_bytes()) == ("socks4-to-a-ipv4-address", connect)
    (second,) = corpora.keep(target, [connect, unknown])
    assert (second.name, second.read_bytes()) == ("socks4-command-is-not-served-only-connect-and-bind", unknown)
    assert corpora.kept(target) == sorted([first, second])
