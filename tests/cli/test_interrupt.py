"""A Ctrl-C that counts once, and one that has to wait."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from relay.cli.main import run
from relay.demo import play
from relay.interrupt import interrupted_once, interrupts_held
from support.capabilities import missing


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    if sys.platform == "win32":
        missing("raise_signal ends a process on Windows")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_first_ends_the_block_and_no_other_is_heard() -> None:
    done = []

    def play() -> None:
        with interrupted_once():
            try:
                press()
            finally:
                press()
                done.append("put away")

    with pytest.raises(KeyboardInterrupt):
        play()
    press()
    assert done == ["put away"]


def test_where_none_came_everything_is_as_before() -> None:
    with interrupted_once():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_it_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupted_once(), interrupts_held():
        press()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_one_that_is_held_comes_at_the_end_and_only_once() -> None:
    done = []

    def play() -> None:
        with interrupted_once(), interrupts_held():
            press()
            press()
            done.append("all")

    with pytest.raises(KeyboardInterrupt):
        play()
    assert done == ["all"]


def test_the_demo_has_its_relays_started_before_it_hears_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    @contextmanager
    def serve(*_: object, **__: object) -> Iterator[None]:
        press()
        done.append("started")
        try:
            yield
        finally:
            done.append("stopped")

    monkeypatch.setattr(play, "serve_in_thread", serve)
    with pytest.raises(KeyboardInterrupt), interrupted_once():
        list(play.play_stories("asyncio", None))
    assert done == ["started", "started", "stopped", "stopped"]


def test_in_another_thread_nothing_is_changed() -> None:
    seen: list[object] = []

    def look() -> None:
        with interrupted_once(), interrupts_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


class _Interrupted:
    """A descriptor at whose naming, while its class is made, a Ctrl-C comes; Python 3.11 raises something else then."""

    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt


def test_one_that_comes_while_a_class_is_made_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(play, "serve_in_thread", lambda *_, **__: type("Made", (), {"field": _Interrupted()}))
    assert run(["demo"]) == 130
    assert capsys.readouterr().err == ""
