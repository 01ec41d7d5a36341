"""docs/conformance.md: RFC 9293's requirements, what both kinds of stack do about each, and the tests that show it.

The rows are in tests/wire/rfc9293/rows.toml, the tests are those beside it, by their names, and the settings those of
the profiles. `python -m support.conformance`, in `tests`, writes the page's tables.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.profiles import load_profile
from support.page_parts import Page, row

PAGE = Page("conformance.md", "tests/support/conformance.py")
FOLDER = Path(__file__).parents[1] / "wire" / "rfc9293"
CONTROL, VMNAT = load_profile("transparent").stack, load_profile("vmware-fusion").stack
REQUIREMENTS = {
    f"{kind}-{number}"
    for kind, last in (("MUST", 69), ("SHLD", 31), ("MAY", 18), ("REC", 1))
    for number in range(1, last + 1)
}
"""All that the RFC numbers."""
OTHER_SETTINGS = {"udp_idle_s", "port_unreachable", "echo_code"}
"""Those of `[stack]` in which the profiles differ and that have nothing to do with TCP."""

_IDS = re.compile(r"(must|shld|may|rec)((?:_\d+)+)_")
_TEST = re.compile(r"^def test_(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One requirement, or several that are one matter."""

    section: str
    requires: str
    ids: tuple[str, ...] = ()
    named: str = ""
    control: str = "yes"
    settings: tuple[str, ...] = ()
    vmnat: str = ""
    source: str = ""

    @property
    def differing(self) -> list[str]:
        """Its settings in which the profiles differ."""
        return [name for name in self.settings if VMNAT.settings.get(name) != CONTROL.settings.get(name)]

    def is_shown_by(self, test: str) -> bool:
        """Whether a test's name, without `test_`, says that it is about this."""
        return bool((self.named and test.startswith(self.named)) or not ids_in(test).isdisjoint(self.ids))


def rows() -> list[Row]:
    """The table, in order."""
    return [_row_of(each) for each in _tables()["row"]]


def left_out() -> list[tuple[list[str], str]]:
    """Requirements that this TCP has no use for, and why."""
    return [(each["ids"], each["why"]) for each in _tables()["left_out"]]


def tests() -> list[str]:
    """The names of the tests beside the table, without `test_`, but for those of the table itself."""
    files = sorted(FOLDER.glob("test_*.py"))
    return [
        name
        for file in files
        if file.name != "test_rows.py"
        for name in _TEST.findall(file.read_text(encoding="utf-8"))
    ]


def ids_in(test: str) -> set[str]:
    """The requirements in a test's name."""
    return {
        f"{kind.upper()}-{number}" for kind, numbers in _IDS.findall(test) for number in numbers.strip("_").split("_")
    }


def references() -> dict[str, str]:
    """What the page ought to say, by part."""
    return {"table": "\n".join(_table()) + "\n", "left out": "\n".join(_left_out()) + "\n"}


def _tables() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads((FOLDER / "rows.toml").read_text(encoding="utf-8"))


def _row_of(table: dict[str, Any]) -> Row:
    lists = {key: tuple(value) for key, value in table.items() if isinstance(value, list)}
    values: dict[str, Any] = {**table, **lists}
    return Row(**values)


def _table() -> Iterator[str]:
    yield row(["requirement", "section", "in short", "`transparent`", "`vmware-fusion`", "shown by tests"])
    yield row(["---"] * 6)
    names = tests()
    for each in rows():
        shown = [_claim(name, each) for name in names if each.is_shown_by(name)]
        yield row(
            [", ".join(each.ids) or "-", each.section, each.requires, _control(each), _vmnat(each), "; ".join(shown)]
        )


def _left_out() -> Iterator[str]:
    yield row(["requirements", "why they are left out"])
    yield row(["---"] * 2)
    for ids, why in left_out():
        yield row([", ".join(ids), why])


def _control(each: Row) -> str:
    return "; ".join(
        [each.control, *(_setting(name, CONTROL.settings) for name in each.settings if name in CONTROL.settings)]
    )


def _vmnat(each: Row) -> str:
    differing = ", ".join(_setting(name, VMNAT.settings) for name in each.differing)
    if not each.vmnat:
        return differing or "-"
    return f"{differing}{'. ' if differing else ''}{each.vmnat} ({evidence_of(each)})"


def evidence_of(each: Row) -> str:
    """Which of the profile's evidence a row's is: its source and versions."""
    profile = load_profile("vmware-fusion")
    evidence = [*VMNAT.evidence, *(found for quirk in profile.quirks for found in quirk.evidence)]
    found = next(one for one in evidence if one.source.startswith(each.source))
    return f"{found.source}; {found.versions}" if found.versions else found.source


def _setting(name: str, settings: Mapping[str, object]) -> str:
    value = settings[name]
    return f"`{name} = {str(value).lower() if isinstance(value, bool) else value}`"


def _claim(test: str, each: Row) -> str:
    """A test's name as the sentence that it is."""
    return _IDS.sub("", test.removeprefix(f"{each.named}_")).replace("_", " ")


if __name__ == "__main__":
    PAGE.write(references())
