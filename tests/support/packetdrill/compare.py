"""What was sent, held against what a script expects."""

from __future__ import annotations

from typing import Final

from relay.wire.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
from support.packetdrill.script import Packet

_LETTERS: Final = (("S", SYN), ("F", FIN), ("R", RST), ("P", PSH), (".", ACK), ("U", URG))
_OPTIONS: Final = ("mss", "window_scale", "sack_permitted", "timestamps", "sack")


class Mismatch(Exception):
    """The TCP did something else than the script says."""


def difference(packet: Packet, wanted: Segment, sent: Segment) -> str:
    """The first field that differs, and how; sequence numbers are relative in both."""
    names = ["flags", "urgent"]
    names += ["seq"] if packet.compares_seq else []
    names += ["ack"] if packet.has_ack or sent.flags & ACK else []
    names += ["window"] if packet.compares_window else []
    names += _OPTIONS if packet.compares_options else []
    for name in names:
        if getattr(wanted, name) != getattr(sent, name):
            return f"{name} is not {getattr(wanted, name)}"
    if len(wanted.payload) != len(sent.payload):
        return f"length is not {len(wanted.payload)}"
    return "" if wanted.payload == sent.payload else "the payload is not that of the stream"


def shown(segment: Segment) -> str:
    """A segment as scripts write it."""
    size = len(segment.payload)
    flags = "".join(letter for letter, flag in _LETTERS if segment.flags & flag) or "-"
    ack = f" ack {segment.ack}" if segment.flags & ACK else ""
    options = [f"{name} {getattr(segment, name)}" for name in _OPTIONS if getattr(segment, name)]
    tail = f" <{','.join(options)}>" if options else ""
    return f"{flags} {segment.seq}:{segment.seq + size}({size}){ack} win {segment.window}{tail}"
