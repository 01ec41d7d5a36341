"""What a test asks for with the marker `nat_relay`, and how its markers add up.

    pytestmark = pytest.mark.nat_relay(time_scale=100)             # for the whole module

    @pytest.mark.nat_relay("vmware-fusion", tos_reset={"mask": 0xFC})
    def test_one(nat_relay): ...

    @pytest.mark.nat_relay(["vmware-fusion", "transparent"])       # runs once with each
    def test_another(nat_relay): ...

A mapping holds settings of a behaviour; anything else is an option of `relay.RelayOptions`, where to `listen`,
or the `backend` that the relay runs on. A profile's path starts at pytest's rootdir. Markers are laid one over the
other, function over class over module, option by option and setting by setting; where an inner one names a profile,
the settings of outer ones are left behind: they were meant for another.

Names and values are checked when the relay is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

MARKER = "nat_relay"


@dataclass
class Wanted:
    """A relay that a test asks for, as it was written down."""

    profile: Any = None
    """A name, a path, a loaded profile, a list of these, or None where nothing is said."""
    backend: Any = "asyncio"
    listen: Any = "127.0.0.1:0"
    keywords: dict[str, Any] = field(default_factory=dict)
    """Options, and behaviours' settings as mappings; see `relay.config.options.configured`."""

    def lay(self, keywords: Mapping[str, Any]) -> None:
        """Lay what else is said over what was said before."""
        for name, value in keywords.items():
            if name in {"profile", "backend", "listen"}:
                setattr(self, name, value)
            elif isinstance(value, Mapping) and isinstance(self.keywords.get(name), Mapping):
                self.keywords[name] = {**self.keywords[name], **value}
            else:
                self.keywords[name] = value

    def leave_settings(self) -> None:
        """Take back what was said of behaviours."""
        self.keywords = {name: value for name, value in self.keywords.items() if not isinstance(value, Mapping)}


def read_markers(node: pytest.Item) -> Wanted:
    """What a test's markers say together.

    Raises:
        ValueError: one says what no test can be given.
    """
    wanted = Wanted()
    outermost_first = list(node.iter_markers_with_node(MARKER))[::-1]
    for place in dict.fromkeys(place for place, _ in outermost_first):
        said = [_keywords(mark) for marked, mark in outermost_first if marked is place]
        if any("profile" in keywords for keywords in said):
            wanted.leave_settings()
        for keywords in said:
            wanted.lay(keywords)
    return wanted


def _keywords(mark: pytest.Mark) -> dict[str, Any]:
    profiles = [*mark.args, *([mark.kwargs["profile"]] if "profile" in mark.kwargs else [])]
    if len(profiles) > 1:
        raise ValueError(f"{len(profiles)} profiles where one is taken; for several runs give a list of them")
    if profiles and isinstance(profiles[0], list | tuple) and not profiles[0]:
        raise ValueError("an empty list of profiles")
    return {**mark.kwargs, **({"profile": profiles[0]} if profiles else {})}
