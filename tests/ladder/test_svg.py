"""A ladder as SVG: one element that stands alone, with each step's text, arrow and time."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree as ET

import pytest

from relay.ladder import runs_of
from relay.ladder.svg import ladder_svg
from support.flow_records import Told, reset_flow

HOSTILE = "</svg><script>alert(1)</script>\u202e\x1b[2J&\"' onload=x"
APP, NAT, SERVER = 80, 410, 740
RED, AMBER, GREEN = "#c21f2b", "#8a5a00", "#1a7037"


@pytest.fixture
def told() -> Told:
    return Told()


def drawing(told: Told, most_steps: int | None = None) -> ET.Element:
    (ladder,) = runs_of(told.records)[0].ladders
    return ET.fromstring(ladder_svg(ladder, most_steps=most_steps))  # noqa: S314 - our own


def of(root: ET.Element, name: str) -> list[ET.Element]:
    return list(root.iter(f"{{http://www.w3.org/2000/svg}}{name}"))


def texts(root: ET.Element) -> list[str]:
    return [text.text or "" for text in of(root, "text")]


def arrows(root: ET.Element) -> list[tuple[int, int, str]]:
    """From which line to which, and in which colour."""
    every = [line.attrib for line in of(root, "line")]
    level = [line for line in every if line["y1"] == line["y2"]]
    ends = {
        line["y1"]: int(path.attrib["d"][1:].split()[0]) for line, path in zip(level, of(root, "path"), strict=True)
    }
    return [(int(line["x1"]), ends[line["y1"]], line["stroke"]) for line in level]


def test_each_step_has_its_text_its_arrow_and_its_time(told: Told) -> None:
    reset_flow(told)
    root = drawing(told)
    shown = texts(root)
    assert shown[:4] == ["#1 ssh[6441] 127.0.0.1:40022 asks for 127.0.0.1:22 via forward", "app", "NAT", "server"]
    for text in ("SYN, answered by the kernel", "nothing for 0.522 s", "3,489 B", "RST, by tos-reset", "0.525"):
        assert text in shown
    assert [arrow[:2] for arrow in arrows(root)] == [
        (APP, NAT),
        (NAT, SERVER),
        (SERVER, NAT),
        (APP, NAT),
        (APP, SERVER),
        (SERVER, APP),
        (NAT, APP),
        (NAT, SERVER),
        (SERVER, NAT),
    ]
    assert [arrow[2] for arrow in arrows(root)][3:7] == [AMBER, GREEN, GREEN, RED]


def test_steps_stand_below_each_other_within_the_drawing(told: Told) -> None:
    reset_flow(told)
    root = drawing(told)
    heights = [int(text.attrib["y"]) for text in of(root, "text")]
    assert max(heights) < int(root.attrib["height"])
    lives = [line.attrib for line in of(root, "line") if line.attrib["x1"] == line.attrib["x2"] == str(APP)]
    assert all(before["y2"] == after["y1"] for before, after in itertools.pairwise(lives))


def test_what_others_chose_stays_text(told: Told) -> None:
    told.open(0.0, destination=HOSTILE)
    told(0.1, "note", text=HOSTILE, because=HOSTILE)
    told.end(0.2, because=HOSTILE)
    (ladder,) = runs_of(told.records)[0].ladders
    svg = ladder_svg(ladder)
    root = ET.fromstring(svg)  # noqa: S314 - our own
    assert {each.tag.partition("}")[2] for each in root.iter()} <= {"svg", "rect", "text", "line", "path"}
    assert not set(svg) & set("\u202e\x1b")
    assert not [name for each in root.iter() for name in each.attrib if name.startswith("on") or "href" in name]
    assert "<script" not in svg


def test_a_long_one_keeps_its_beginning_and_its_end(told: Told) -> None:
    told.open(0.0)
    for number in range(100):
        told(0.001 * number, "note", text=f"word {number}", because="b")
    told.end(1.0)
    shown = texts(drawing(told, most_steps=10))
    assert any("steps are left out here" in text for text in shown)
    assert "word 50, by b" not in shown
    assert any(text.startswith("ended by") for text in shown)


def test_a_lost_segment_ends_in_a_cross(told: Told) -> None:
    told.open(0.0)
    told.connect(0.1)
    told(0.2, "blackholed", side="internal", because="b")
    told.end(0.3, because="b")
    (cross,) = (path for path in of(drawing(told), "path") if path.attrib["fill"] == "none")
    assert cross.attrib["stroke"] == RED
