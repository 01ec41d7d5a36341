"""README's own behaviour: its code runs as it stands, and an installed package turns it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.actions import Note, StartTimer
from support.packages import install_behaviour
from support.page import blocks_of
from support.programs import relay

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CODE, ITS_TEST = (
    block.text for block in blocks_of(README.partition("\n## A quirk of your own\n")[2].partition("\n## ")[0])
)


@pytest.fixture
def namespace() -> dict[str, Any]:
    """What the two blocks define, one after the other."""
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(CODE + ITS_TEST, "README.md", "exec", dont_inherit=True), names)  # noqa: S102 - README's own
    return names


def test_the_test_of_readmes_behaviour_passes(namespace: dict[str, Any]) -> None:
    (test,) = (value for name, value in namespace.items() if name.startswith("test_"))
    test()


def test_and_fails_if_the_behaviour_does_something_else(
    namespace: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (test,) = (value for name, value in namespace.items() if name.startswith("test_"))
    handlers: dict[str, Callable[..., object]] = {
        "on_dial_succeeded": lambda self, event: [StartTimer("grumble", 1.0)],
        "on_timer_fired": lambda self, event: [Note("bye")],
    }
    for name, handler in handlers.items():
        with monkeypatch.context() as patched:
            patched.setattr(namespace["Grumble"], name, handler)
            with pytest.raises(AssertionError, match="other steps than expected"):
                test()


@pytest.mark.system
def test_installed_it_is_turned_on_by_set(tmp_path: Path) -> None:
    path = install_behaviour(tmp_path / "installed", "grumble", CODE)
    explained = relay("explain", "transparent", "--set", "grumble.after_s=1", PYTHONPATH=path)
    assert "grumble (assumed)\n  Say something when the connection has been up for a while.\n  after_s = 1.0" in (
        explained.stdout
    ), explained.stderr


def test_it_links_to_the_page_that_goes_all_the_way() -> None:
    assert "](docs/new-behaviour.md)" in README
