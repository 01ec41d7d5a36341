"""packetdrill scripts, read into events.

    --ack=each                                          a setting of the stack; options of other tools are passed over
    +0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3        a call, and what it returns
    +0 < S 0:0(0) win 1000 <mss 1460>                   a segment that arrives
    +.2~+.3 > S. 0:0(0) ack 1 <...>                     a segment that must be sent, within this time, options aside
    0.5 < [tos 0x48] P. 1:11(10) ack 1 win 1000         half a second after the start; the IP header's TOS byte
    * > . 1:1(0) ack 11                                 at any time
    // and /* */ are comments

Sequence numbers are relative: ours to our own SYN, those of what arrives to any number that the player picks.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Final

from relay.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment

_FLAGS: Final = {"S": SYN, "F": FIN, "R": RST, "P": PSH, ".": ACK, "A": ACK, "U": URG, "E": ECE, "W": CWR, "-": 0}
_TIME: Final = r"\+?\s*(?:\d+\.?\d*|\.\d+)"
_WHEN: Final = re.compile(rf"(\*|{_TIME}(?:(?:~|\.\.\.){_TIME})?)\s+(.*)", re.DOTALL)
_PACKET: Final = re.compile(
    r"""([<>])\s+ (?:\[([^\]]*)\]\s*)? (?:\(([^)]*)\)\s*)? ([SFRPAUEW.\-]+)\s+ (?:\.\.\.|(\d+):(\d+))\((\d+)\)(!?)
        (?:\s+ack\s+(\d+))? (?:\s+win\s+(\d+))? (?:\s+urg\s+(\d+))? \s* (?:<(.*)>)?""",
    re.VERBOSE,
)
_CALL: Final = re.compile(r"(\w+)\s*\((.*?)\)\s*(?:=\s*(.*))?", re.DOTALL)


class NotPlayed(Exception):
    """The script uses something that this interpreter, or this TCP, does not have."""


class NotUnderstood(Exception):
    """The script is no packetdrill, as far as this reader knows it."""


@dataclass(frozen=True)
class When:
    """From `low_s` to `high_s` after the last event, or after the start."""

    low_s: float
    high_s: float
    relative: bool = True


@dataclass(frozen=True)
class Packet:
    """A segment, and which of its fields are to be compared."""

    sent: bool
    segment: Segment
    compares_window: bool
    compares_options: bool
    compares_seq: bool
    has_ack: bool
    absolute: bool
    """Whether the sequence number is no position in a stream, but as it stands."""


@dataclass(frozen=True)
class Call:
    """A system call, or one of the player's own verbs, with its words as they stand."""

    name: str
    arguments: tuple[str, ...]
    result: str | None


@dataclass(frozen=True)
class Event:
    """What happens, or must happen, in one line."""

    line: int
    when: When
    what: Packet | Call


@dataclass
class Script:
    """A whole script."""

    settings: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


def read_script(text: str) -> Script:
    """Read a script.

    Raises:
        NotPlayed: it uses something that is not played here.
        NotUnderstood: a line cannot be read.
    """
    text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.DOTALL)
    script = Script()
    lines = iter(_chosen(text))
    for number, raw in lines:
        line = re.sub(r"(^|\s)(//|#).*", "", raw).strip()
        while (
            line.count("`") == 1
            or ("%{" in line and "}%" not in line)
            or (line.count("(") > line.count(")") and "`" not in line)
        ):
            line += " " + re.sub(r"\s//.*", "", next(lines, (0, "`)}%"))[1].strip())
        if line.startswith("--"):
            for option in line.split():
                key, _, value = option[2:].partition("=")
                script.settings[key] = value
        elif line and "`" not in line:
            script.events.append(_event(number, line))
    return script


def _goes_on(line: str) -> bool:
    if "`" in line or "%{" in line:
        return line.count("`") == 1 or line.count("%{") > line.count("}%")
    return line.count("(") > line.count(")")


def _chosen(text: str) -> list[tuple[int, str]]:
    """The lines with their numbers, of `#ifdef` only what is for the STANDARD."""
    chosen, applies = [], True
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#ifdef"):
            applies = "STANDARD" in line
        elif line.startswith(("#endif", "#else")):
            applies = line.startswith("#endif") or not applies
        elif applies:
            chosen.append((number, line))
    return chosen


def _event(number: int, line: str) -> Event:
    match = _WHEN.fullmatch(line)
    when, what = (_when(match[1]), match[2].strip()) if match else (When(0, 0), line)
    if what.startswith("%{"):
        return Event(number, when, Call("assert", (what,), None))
    if re.match(r"[<>]\s*(\[[^\]]*\]\s*)?(icmp|udp|ipv\d)", what) or "/udp(" in what:
        raise NotPlayed(f"line {number}: {what.split()[0:3]}")
    if what[0] in "<>":
        packet = _PACKET.fullmatch(what)
        if packet is None:
            raise NotUnderstood(f"line {number}: {what}")
        return Event(number, when, _packet(packet))
    call = _CALL.fullmatch(what)
    if call is None:
        raise NotUnderstood(f"line {number}: {what}")
    arguments = tuple(word.strip() for word in re.split(r",(?![^\[{(]*[\]})])", call[2]) if word.strip())
    result = call[3].strip() if call[3] else None
    return Event(number, when, Call(call[1], arguments, result))


def _when(text: str) -> When:
    if text == "*":
        return When(0, math.inf)
    low, _, high = re.sub(r"~|\.\.\.", " ", text.replace(" ", "")).partition(" ")
    low_s = float(low)
    if not high:
        return When(low_s, low_s, low.startswith("+"))
    high_s = float(high) if high.startswith("+") or not low.startswith("+") else low_s + float(high)
    return When(low_s, high_s, low.startswith("+"))


def _packet(match: re.Match[str]) -> Packet:
    direction, bracket, parenthesis, flags, start, end, size, absolute, ack, window, urgent, options = match.groups()
    if start and int(end) - int(start) != int(size):
        raise NotUnderstood(f"{start}:{end}({size}) does not add up")
    tos = re.search(r"tos (\w+)", f"{bracket or ''} {parenthesis or ''}")
    segment = Segment(
        int(start or 0),
        int(ack or 0),
        sum({_FLAGS[flag] for flag in flags}),
        int(window or 0),
        bytes(int(size)),
        tos=int(tos[1], 0) if tos else 0,
        urgent=int(urgent or 0),
    )
    if options and options != "...":
        segment = _with_options(segment, options)
    return Packet(
        direction == ">",
        segment,
        compares_window=window is not None,
        compares_options=options != "...",
        compares_seq=start is not None,
        has_ack=ack is not None,
        absolute=bool(absolute),
    )


def _with_options(segment: Segment, text: str) -> Segment:
    for option in re.split(r"\s*,\s*", text.strip()):
        kind, *words = option.split()
        if kind == "mss":
            segment = replace(segment, mss=int(words[0]))
        elif kind == "wscale":
            segment = replace(segment, window_scale=int(words[0]))
        elif kind == "sackOK":
            segment = replace(segment, sack_permitted=True)
        elif kind == "TS":
            segment = replace(segment, timestamps=(int(words[1]), int(words[3])))
        elif kind == "sack":
            blocks = tuple((int(low), int(high)) for low, high in (word.split(":") for word in words))
            segment = replace(segment, sack=blocks)
        elif kind not in {"nop", "eol"}:
            raise NotPlayed(f"option {option}")
    return segment
