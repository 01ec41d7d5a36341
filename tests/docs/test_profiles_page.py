"""docs/profiles.md and docs/profiles/ say what the profiles say, and the test on each profile's page passes."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from relay.profiles import Profile, available, columns_of, load_profile
from relay.testing import RunningRelay, serve_in_thread
from support import profile_reference
from support.capabilities import missing
from support.page import blocks_of

PAGES = profile_reference.pages()
_REMADE_BY = "cd tests && python -m support.profile_reference"
each_profile = pytest.mark.parametrize("profile", available(), ids=lambda profile: profile.name)


def test_the_table_is_what_the_profiles_make_it() -> None:
    assert profile_reference.PAGE.written("table") == profile_reference.table(), _REMADE_BY


def test_there_is_a_page_for_each_profile_and_no_other() -> None:
    assert {file.name for file in profile_reference.FOLDER.iterdir()} == PAGES.keys(), _REMADE_BY


@each_profile
def test_a_page_is_what_the_profile_makes_it(profile: Profile) -> None:
    file = f"{profile.name}.md"
    assert (profile_reference.FOLDER / file).read_text(encoding="utf-8") == PAGES[file], _REMADE_BY


@each_profile
def test_a_page_has_all_that_the_profile_says(profile: Profile) -> None:
    page, control = PAGES[f"{profile.name}.md"], PAGES["transparent.md"]
    for text in (profile.title, profile.symptom, profile.reproduce, profile.remedy, *profile.aliases):
        assert text in page
    for quirk in (*profile.quirks, *profile.absent):
        assert quirk.name in page
        for evidence in quirk.evidence:
            said = evidence.says.replace("*", "\\*")
            assert said in page or (said in control and "As in [`transparent`](transparent.md)" in page)


@each_profile
def test_the_test_on_a_page_passes_behind_its_nat(profile: Profile) -> None:
    name, test = _test_of(profile)
    if "backlog" in PAGES[f"{profile.name}.md"] and sys.platform != "linux":
        missing("only Linux answers no SYN beyond a full backlog")
    [mark] = test.pytestmark  # type: ignore[attr-defined]
    assert mark.args == (profile.name,)
    with serve_in_thread(profile.name, seed=1, **mark.kwargs) as nat:  # a test has one seed with the plugin, too
        test(nat)
    assert name.startswith("test_")


@each_profile
def test_the_time_that_a_test_has_to_pass_is_the_longest_that_the_nat_waits(profile: Profile) -> None:
    for seconds in re.findall(r"nat\.advance\((.*?)\)", profile.reproduce):
        assert seconds == re.findall(r"[\d.]+", columns_of(profile)["idle"])[-1]
    assert "time_scale" not in profile.reproduce or "nat.advance" in profile.reproduce


@pytest.fixture
def impatient() -> Iterator[None]:
    """Sockets of the test give up after a moment, where the page's would wait."""
    socket.setdefaulttimeout(0.1)
    yield
    socket.setdefaulttimeout(None)


@pytest.mark.parametrize("name", [profile.name for profile in available() if profile.name != "transparent"])
@pytest.mark.usefixtures("impatient")
def test_it_fails_behind_the_control(name: str) -> None:
    _, test = _test_of(load_profile(name))
    with serve_in_thread("transparent") as nat, pytest.raises((AssertionError, pytest.fail.Exception, OSError)):
        test(nat)


def _test_of(profile: Profile) -> tuple[str, Callable[[RunningRelay], None]]:
    """The name and the function of the test on its page."""
    [code] = [block.text for block in blocks_of(PAGES[f"{profile.name}.md"])]
    code = code.replace("app.settimeout(0.3)", "app.settimeout(0.05)")  # of many silences each may be short
    code = code.replace("app.settimeout(None)", "app.settimeout(socket.getdefaulttimeout())")  # see `impatient`
    module: dict[str, Callable[[RunningRelay], None]] = {}
    exec(compile(code, f"{profile.name}.md", "exec"), module)  # noqa: S102 - what a reader would paste
    [found] = [(name, each) for name, each in module.items() if name.startswith("test_")]
    return found
