"""The report's file: the page's own HTML, styles and scripts, and the data, in one.

The data are JSON in a script element that no browser runs. Their `<` is written `\\u003c`, so that nothing in them ends
that element. The page may run and apply what stands in it at these hashes, and load nothing (Content-Security-Policy):
what slipped in between would not run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files

from relay.causes import Cause
from relay.printable import escape_unprintable
from relay.report.sections import Data, Section

_STYLES = ("report.css",)
_SCRIPTS = ("format.js", "ladder.js", "table.js", "timeline.js", "profile.js", "report.js")
_PAGE = "report.html"


def page_of(sections: Sequence[Section], title: str, remarks: Sequence[str] = ()) -> str:
    """The whole file; `title` is what it is of, `remarks` what its reader must know: lines that were left out, say."""
    profiles: list[Data] = []
    entries = []
    for section in sections:
        if section.said is not None and section.said not in profiles:
            profiles.append(section.said)
        said = None if section.said is None else profiles.index(section.said)
        entries.append({**section.as_data(), "said": said})
    return assembled(page_data(entries, profiles, remarks), title)


def page_data(sections: Sequence[Data], profiles: Sequence[Data], remarks: Sequence[str]) -> Data:
    """What the page is made from. A section's `said` is the place of its profile among the profiles, or None."""
    causes = {str(cause): cause.__doc__ for cause in Cause}
    return {
        "sections": list(sections),
        "profiles": list(profiles),
        "causes": causes,
        "remarks": list(map(escape_unprintable, remarks)),
    }


def assembled(data: Data, title: str) -> str:
    """The page with these data."""
    styles = [_file(name) for name in _STYLES]
    scripts = [_file(name) for name in _SCRIPTS]
    return _filled(
        _file(_PAGE),
        {
            "policy": html.escape(_policy(styles, scripts)),
            "title": html.escape(escape_unprintable(title)),
            "styles": "".join(f"<style>{style}</style>\n" for style in styles),
            "data": embedded(data),
            "scripts": "".join(f"<script>{script}</script>\n" for script in scripts),
        },
    )


def embedded(data: Data) -> str:
    """The data as JSON that can stand in a script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII alone
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(styles: Iterable[str], scripts: Iterable[str]) -> str:
    allowed = {"style-src": styles, "script-src": scripts}
    sources = (f"{kind} {' '.join(map(_hash, texts))}" for kind, texts in allowed.items())
    return "; ".join(["default-src 'none'", *sources, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _filled(template: str, values: dict[str, str]) -> str:
    """The template with its `{{name}}` replaced, in one pass: what is put in is not looked at again."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [values[name], rest]
    return "".join(filled)


def _file(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")
