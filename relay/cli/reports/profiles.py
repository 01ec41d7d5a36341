"""`relay profiles`: every shipped profile in a table, then its names, and whose NAT it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relay.cli.reports.paragraphs import heading, indented
from relay.profiles import COLUMNS, available, columns_of


def list_profiles() -> str:
    """A table of what each shipped profile does, the columns' meanings, and each profile's names and title."""
    profiles = available()
    rows = [["profile", *COLUMNS], *([each.name, *columns_of(each).values()] for each in profiles)]
    lines = [*_aligned(rows), ""]
    for column, meaning in COLUMNS.items():
        lines += indented(f"{column}: {meaning}", by="")
    lines.append("")
    for each in profiles:
        lines += [", ".join((each.name, *each.aliases)), *indented(heading(each))]
    return "\n".join(lines)


def profiles_as_json() -> list[dict[str, object]]:
    """The same as data; `columns` has the table's row."""
    return [
        {
            "name": each.name,
            "aliases": list(each.aliases),
            "title": each.title,
            "era": each.era,
            "columns": columns_of(each),
        }
        for each in available()
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield " ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
