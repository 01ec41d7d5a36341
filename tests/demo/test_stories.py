"""The stories themselves: what must come out follows from the profile, and each can come out otherwise."""

from __future__ import annotations

import socket
import sys
import threading

import pytest

from relay.demo.origin import BusyServer
from relay.demo.play import Performance, Row, StoryClosed, StoryOpened, play_story
from relay.demo.stories import STORIES, Outcome, Story
from relay.fidelity import assess
from relay.observe import survey
from relay.profiles import load_profile
from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import missing

BY_NAME: dict[str, Story] = {story.name: story for story in STORIES}
VMWARE = ("vmware-fusion", "vmware-workstation")


@pytest.fixture(autouse=True)
def _linux() -> None:
    if sys.platform != "linux":
        missing("needs providers that only Linux has")


def promised(story: Story, profile_name: str, *settings: str) -> Outcome:
    quirks = {quirk.name: quirk.settings for quirk in load_profile(profile_name, settings).quirks}
    return story.promise(quirks.get(story.quirk))


def promise(story: Story, profile_name: str) -> Performance:
    """A performance that is to come out as this profile promises, whatever it is played through."""
    profile = load_profile(profile_name)
    quirk = next((each for each in assess(profile, survey()) if each.quirk.name == story.quirk), None)
    return Performance(profile, profile_name, promised(story, profile_name), quirk)


def play(story: Story, *parts: tuple[RunningRelay, str]) -> StoryClosed:
    """Play a story through relays, each judged by the profile that is named beside it."""
    performances = tuple(promise(story, name) for _, name in parts)
    opened, *rows, closed = play_story(story, [nat for nat, _ in parts], performances)
    assert isinstance(opened, StoryOpened)
    assert all(isinstance(row, Row) for row in rows)
    assert isinstance(closed, StoryClosed)
    return closed


@pytest.mark.parametrize("name", ["tos-change", "abandoned-handshake"])
def test_a_relay_that_does_as_another_profile_says_is_found_out(name: str, backend: str) -> None:
    with (
        serve_in_thread("transparent", backend=backend) as plain,
        serve_in_thread(VMWARE[0], backend=backend) as vmware,
    ):
        closed = play(BY_NAME[name], (plain, VMWARE[0]), (vmware, "transparent"))
    assert closed.verdict == "broken"
    assert len(closed.broken) == 2


@pytest.mark.parametrize("name", BY_NAME)
def test_a_relay_that_lets_no_client_in_is_no_kept_promise(name: str, backend: str) -> None:
    with serve_in_thread("transparent", backend=backend, auth="ann:secret") as nat:
        closed = play(BY_NAME[name], (nat, VMWARE[0]))
    assert closed.verdict == "broken"
    [performance] = closed.performances
    if name == "abandoned-handshake":
        assert performance.seen == Outcome("answered", "no call")
    else:
        assert (performance.seen, performance.fault) == (None, "the relay did not connect: 00 5d 00 00 00 00 00 00")


def test_the_promises_follow_the_settings_of_the_profile() -> None:
    tos, dead, gone = STORIES
    cases: list[tuple[Story, tuple[str, ...], str, str]] = [
        (tos, (), "ECONNRESET", '"one", FIN'),
        (tos, ("tos-reset.mask=0x20",), '"two"', '"one", "two", FIN'),
        (tos, ("tos-reset.enabled=false",), '"two"', '"one", "two", FIN'),
        (dead, (), "still up", "not probed"),
        (dead, ("local-keepalive.answered_by=server",), "found dead", "probed"),
        (gone, (), "gave up", "a call: FIN"),
        (gone, ("precomplete-handshake.order=lockstep",), "gave up", "no call"),
    ]
    for story, settings, app, server in cases:
        assert promised(story, "vmware-fusion", *settings) == Outcome(app, server), settings


PROMISES = {
    "transparent": ('"two"', "found dead", "no call"),
    "vmware-fusion-11": ("ECONNRESET", "still up", "a call: FIN"),
    "vmware-workstation-14": ("ECONNRESET", "still up", "a call: FIN"),
    "vmware-workstation-16": ('"two"', "still up", "a call: FIN"),
}
"""What the app sees of the first two stories, and the server of the third."""


@pytest.mark.parametrize("name", PROMISES)
def test_each_profile_that_the_stories_are_about_promises_what_its_product_does(name: str) -> None:
    tos, dead, gone = (promised(story, name) for story in STORIES)
    assert (tos.app, dead.app, gone.server) == PROMISES[name]


def test_no_thread_is_left_behind(backend: str) -> None:
    before = set(threading.enumerate())
    with serve_in_thread(backend=backend) as nat:
        play(STORIES[0], (nat, "vmware-fusion"))
    assert set(threading.enumerate()) <= before


def test_a_busy_server_answers_no_call_until_it_has_recovered() -> None:
    with BusyServer() as server:
        with socket.socket() as sock:
            sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                sock.connect(("127.0.0.1", server.port))
        server.recover()
        with socket.create_connection(("127.0.0.1", server.port), 60) as sock:
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            visit = server.visit(1)
    assert visit is not None
    assert (visit.said, visit.ended) == (("hello",), "FIN")
