"""The live page's files, as they lie in the wheel: its own, and what it shares with the report."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

from relay.control_api.exchange import Answer, Refused

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("index.html", "control.css", "client.js", "forms.js", "panels.js", "control.js"), "relay.control_api"
        ),
        **dict.fromkeys(("report.css", "format.js", "ladder.js", "profile.js", "table.js"), "relay.report"),
    }
)


def page_file(name: str) -> Answer:
    """One of the page's files.

    Raises:
        Refused: there is none of this name.
    """
    if name not in _PACKAGES:
        raise Refused(404, f"the page has no file {name[:100]!r}")
    content = (files(_PACKAGES[name]) / "page" / name).read_bytes()
    return Answer(200, content, f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8")
