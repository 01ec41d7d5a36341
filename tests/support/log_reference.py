"""The reference of the event log in docs/events.md, made from `relay.log.vocabulary`.

`python -m support.log_reference`, in `tests`, writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from relay.log import COMMON_FIELDS, FIELDS, Cause, How

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
_BEGIN, _END = "<!-- event log reference: written by tests/support/log_reference.py -->\n", "<!-- end -->\n"


def reference() -> str:
    """What the page has to say, as Markdown."""
    return "\n".join(_lines()) + "\n"


def written() -> str:
    """What it says."""
    return PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]


def write() -> None:
    before, begin, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(before + begin + reference() + _END + rest.partition(_END)[2])


def _lines() -> Iterator[str]:
    for name, meaning in COMMON_FIELDS.items():
        yield f"* `{name}`: {meaning}"
    yield from ("", "and, by event:", "", "| event | its fields |", "| --- | --- |")
    for event, fields in FIELDS.items():
        own = "<br>".join(f"`{name}`: {meaning}" for name, meaning in fields.items())
        yield f"| `{event}` | {own or 'none of its own'} |"
    yield from ("", "A flow, or one side of it, ends because of a behaviour, by its name, or because of:", "")
    for cause in Cause:
        yield f"* `{cause}`: {cause.__doc__}"
    yield from ("", "and a side ends by:", "")
    for how in How:
        yield f"* `{how}`: {how.__doc__}"


if __name__ == "__main__":
    write()
