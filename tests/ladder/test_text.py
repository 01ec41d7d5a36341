"""A ladder as text: the whole picture, with lines and arrows or with ASCII, within the 80 columns of a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ladder import runs_of
from relay.ladder.text import WIDTH, LadderText, takes_unicode
from relay.ladder.width import cells, padded, wrapped
from relay.printable import is_printable
from support.flow_records import Told, plain_flow, reset_flow

RESET = """\
#1 ssh[6441] 127.0.0.1:40022 asks for 127.0.0.1:22 via forward

  time s app                            NAT                             server
   0.000 ├─ SYN, answered by the kernel ──▶│                                 │
   0.001 │                                 ├─ SYN ──────────────────────────▶│
   0.002 │                                 │◀───────── SYN-ACK after 1.0 ms ─┤
         ⋮ nothing for 0.522 s             ⋮                                 ⋮
   0.524 │ TOS 0x48 -> 0x20, precedence 2  │                                 │
         │ -> 1; its SYN had 2             │                                 │
         ├────────────────────────────────▶│                                 │
         ├─ 3,489 B ───────────────────────┼────────────────────────────────▶│
         │◀────────────────────────────────┼─────────────────────── 3,365 B ─┤
   0.525 │◀──────────── RST, by tos-reset ─┤                                 │
         ⋮ nothing for 0.112 s             ⋮                                 ⋮
   0.637 │                                 ├─ FIN, by tos-reset ────────────▶│
   0.644 │                                 │◀────────────────────────── FIN ─┤
   0.644 │ ended by tos-reset: 127.0.0.1:22, app rst by tos-reset, server    │
         │ fin by tos-reset, 3489 B out, 3365 B in, 0.644 s                  │
"""
IN_ASCII = str.maketrans("│─├┤┼◀▶✕⋮", "|-+++<>x:")
HOSTILE = "\x1b[2J\u202e</script>例\u0301え" * 9


@pytest.fixture
def told() -> Told:
    return Told()


def picture(told: Told, text: LadderText | None = None) -> str:
    (ladder,) = runs_of(told.records)[0].ladders
    return "".join(f"{line}\n" for line in (text or LadderText()).whole(ladder))


def test_the_whole_picture(told: Told) -> None:
    reset_flow(told)
    assert picture(told) == RESET


def test_the_same_in_ascii(told: Told) -> None:
    reset_flow(told)
    assert picture(told, LadderText(unicode=False)) == RESET.translate(IN_ASCII)


def test_what_never_arrives_ends_in_a_cross(told: Told) -> None:
    told.open(0.0)
    told(0.01, "blackholed", side="internal", because="x")
    told(0.02, "blackholed", side="external", because="x")
    told(0.03, "timed-out", side="external", unacked_bytes=0)
    told(0.04, "timed-out", side="internal", unacked_bytes=0)
    assert picture(told).splitlines()[4:8] == [
        "   0.010 ├─ gets no answer, by x ─────✕    │                                 │",
        "   0.020 │                                 │    ✕───── gets no answer, by x ─┤",
        "   0.030 │                                 ├─ no answer any more ───────✕    │",
        "   0.040 │    ✕─────── no answer any more ─┤                                 │",
    ]


def test_only_what_matters_has_a_colour(told: Told) -> None:
    reset_flow(told)
    coloured = picture(told, LadderText(colour=True))
    assert re.sub(r"\x1b\[\d*m", "", coloured) == RESET
    red, yellow, dim = (re.findall(rf"\x1b\[{code}m(.*?)\x1b", coloured) for code in (31, 33, 2))
    assert [piece.strip() for piece in red] == ["◀──────────── RST, by tos-reset ─"]
    assert yellow[0] == " TOS 0x48 -> 0x20, precedence 2  "
    assert len(dim) == 2


def test_of_a_ladder_that_is_too_long_the_beginning_and_the_end_are_shown(told: Told) -> None:
    told.open(0.0)
    for number in range(100):
        told(0.001 * number, "note", text=f"number {number}", because="b")
    text = picture(told, LadderText(most_steps=10))
    assert re.findall(r"number (\d+)", text) == [*"0123", *map(str, range(96, 100))]
    assert "⋮ 92 steps are left out here" in text


def test_a_flow_in_one_line_says_whose_it_is_and_how_it_ended(told: Told) -> None:
    plain_flow(told)
    (ladder,) = runs_of(told.records)[0].ladders
    assert " ".join(line.strip() for line in LadderText().folded(ladder)) == (
        "#1 ssh[6441] ended by internal-peer: 127.0.0.1:22, app fin by internal-peer, server fin by internal-peer, "
        "100 B out, 2000 B in, 0.020 s"
    )


@pytest.mark.parametrize("unicode", [True, False])
def test_what_others_chose_is_escaped_and_keeps_within_the_columns(told: Told, unicode: bool) -> None:
    told.open(0.0, destination=f"{HOSTILE}:443")
    told(0.01, "dial-failed", failure="refused", detail=HOSTILE)
    told(0.02, "note", text=HOSTILE, because=HOSTILE)
    told(0.02, "rst-sent", carried=(10**14, 1), side="internal", because=HOSTILE)
    told(10.0**9, "handshake-failed", client="c", reason=HOSTILE)
    shown = picture(told, LadderText(unicode=unicode))
    assert all(is_printable(character) or character == "\n" for character in shown)
    assert "\\x1b[2J\\u202e</script>" in shown.replace("\n    ", "")
    assert shown.isascii() or unicode
    assert max(map(cells, shown.splitlines())) <= WIDTH
    lines = shown.partition(" server\n")[2].splitlines()
    assert {cells(line) for line in lines} == {78}
    assert {line[9] for line in lines} <= set("│├⋮|+:")


@pytest.mark.parametrize(
    ("at_s", "shown"),
    [
        *((9999.5, "9999.500"), (10_000.0, "   10000"), (10.0**8, " 1.0e+08")),
        *((-99_997.0, "  -99997"), (-(10.0**9), "-1.0e+09"), (-1e300, " -1e+300")),
    ],
)
def test_any_time_has_eight_columns(told: Told, at_s: float, shown: str) -> None:
    told.open(0.0)
    told(at_s, "note", text="x", because="b")
    assert f"\n{shown} │ b: x " in picture(told)


@pytest.mark.parametrize(
    ("encoding", "unicode"),
    [
        *(("utf-8", True), ("utf-16", True)),
        *(("ascii", False), ("latin-1", False), ("cp437", False), (None, False), ("none-such", False)),
    ],
)
def test_lines_and_arrows_are_for_encodings_that_have_them(encoding: str | None, unicode: bool) -> None:
    assert takes_unicode(encoding) is unicode


@given(st.text(), st.integers(2, 40))
def test_wrapped_lines_keep_all_characters_and_the_width(text: str, most: int) -> None:
    lines = wrapped(text, most)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert max(map(cells, lines)) <= most


def test_wide_and_combining_characters_count_as_a_terminal_shows_them() -> None:
    assert [cells(text) for text in ("ab", "例え", "e\u0301", "")] == [2, 4, 1, 0]
    assert padded("例", 4) == "例  "
    assert wrapped("例え例え", 4) == ["例え", "例え"]
