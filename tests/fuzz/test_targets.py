"""Every target keeps its promises on every input that was kept, and on as many new ones as a few seconds allow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.corpora import CORPUS, kept
from fuzz.targets import TARGETS, Target
from support.capabilities import missing

QUICK_EXAMPLES = 40  # of each target: 4 s of CPU time for all of them
EXAMPLES = 150
_NEW = settings(suppress_health_check=list(HealthCheck))


@pytest.fixture(params=list(TARGETS.values()), ids=list(TARGETS))
def target(request: pytest.FixtureRequest) -> Target:
    """Each target that this host can run."""
    wanted: Target = request.param
    if wanted.name == "wake" and sys.platform != "linux":
        missing("packet programs need Linux")
    return wanted


def test_what_was_kept_breaks_no_promise(target: Target) -> None:
    files = kept(target)
    assert files, f"{target.name} has no corpus"
    for path in files:
        try:
            target.check(path.read_bytes())
        except Exception as fault:
            fault.add_note(f"input: {path.relative_to(CORPUS)}")
            raise


@settings(_NEW, max_examples=QUICK_EXAMPLES)
@given(data=st.data())
def test_nothing_new_breaks_one_either(target: Target, data: st.DataObject) -> None:
    target.check(data.draw(_inputs(target)))


@pytest.mark.system
@settings(_NEW, max_examples=EXAMPLES)
@given(data=st.data())
def test_nothing_new_breaks_one_in_more_tries(target: Target, data: st.DataObject) -> None:
    target.check(data.draw(_inputs(target)))


def _inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Words of the target's language and pieces of what was kept, put together, with a few bytes changed."""
    words = [*target.tokens, *(path.read_bytes() for path in kept(target))]
    pieces = st.one_of(
        st.sampled_from(words),
        st.sampled_from(words).flatmap(lambda word: st.integers(0, len(word)).map(lambda end: word[:end])),
        st.binary(max_size=8),
    )
    changes = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=3)
    return st.builds(_changed, st.lists(pieces, max_size=8).map(b"".join), changes)


def _changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for at, byte in changes:
        if changed:
            changed[at % len(changed)] = byte
    return bytes(changed)


def test_the_corpus_is_small_and_nothing_in_it_is_forgotten() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.relative_to(CORPUS).parts[0] for path in files} == set(TARGETS)
    assert all(len(path.relative_to(CORPUS).parts) == 2 for path in files)
    assert len(files) < 200
    assert sum(path.stat().st_size for path in files) < 300_000
    assert CORPUS.parent == Path(__file__).parent
