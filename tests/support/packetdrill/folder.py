"""Folders of scripts that others wrote for their own kernels: which pass, which do not, and why not.

What such a script takes for granted about its own host is adapted or passed over: options, the size of windows and
their scaling, segments larger than the MSS, descriptors' numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from relay.wire.segment import SYN
from support.packetdrill.compare import Mismatch
from support.packetdrill.player import Numbers, Player
from support.packetdrill.script import Call, Event, NotPlayed, NotUnderstood, Packet, Script, read_script

_MSS: Final = 1460
_DEVIATIONS: Final = (
    (r"closing-.*flags is not 17", "BSD sends its FIN again with each ACK; here the timer does"),
    (r"rcv-fin-listen|rcv-syn-ack-listen", "here a port is open or closed as the server's is, so there is no LISTEN"),
    (r"rcv-fin-time-wait.*unexpected", "RFC 9293 answers what is outside the window, with or without ACK"),
    (r"rcv-ack-time-wait.*nothing sent", "RFC 9293 has no answer to an ACK in the window"),
    (r"(rcv-syn-time-wait|rcv-syn-fin-time-wait).*nothing sent", "a SYN beyond the FIN reuses the ports (MAY-2)"),
    (r"right-edge.*-secure.*nothing sent", "FreeBSD's window is 65700 bytes, more than the header can say"),
    (r"-insecure.*flags is not 20", "a SYN in the window is challenged (RFC 5961), not reset (RFC 793)"),
    (r"syn-fin.*dropping-enabled", "SYN with FIN is taken for a SYN"),
    (r"snd-syn.*sent at", "FreeBSD rounds its timeouts up by 0.2 s"),
    (r"flags is not 194", "ECN is not offered"),
    (r"EWOULDBLOCK", "EAGAIN, by another name"),
    (r"/blocking/|/ioctl/", "calls return at once here"),
    (r"fr-4pkt-fack", "loss is found by three duplicate acknowledgements, or by time"),
    (r"setsockopt returned|write returned|socket returned", "it tests the socket interface"),
    (r"/(shutdown|timestamping|tcp_info|user_timeout)/|_cork_", "it tests the socket interface"),
    (r"overlapping-200-32200", "the window stays whole until as much again is unread, so it need not be reopened"),
    (r"fastopen|fast-open", "TCP Fast Open is not offered"),
    (r"/(cubic|slow_start|fast_recovery|cwnd_moderation|limited_transmit)/", "there is no congestion window"),
    (r"/(sack|eor|zerocopy|mtu_probe|mss|gro|notsent_lowat|ts_recent)/", "it tests what is not offered here"),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one script: `pass`, `known deviation` or `fail`, and why."""

    path: Path
    verdict: str
    why: str = ""


def play_folder(folder: Path) -> Iterator[Outcome]:
    """Play every script below `folder`."""
    for path in sorted(folder.rglob("*.pkt")):
        yield _play(path)


def _play(path: Path) -> Outcome:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        script = _adapted(read_script(text))
        settings = {"window": 65_535, "rst": "window" if "insecure_rst=1" in text else "strict"}
        player = Player(script, Numbers(), settings)
        if any(isinstance(event.what, Packet) and len(event.what.segment.payload) > _MSS for event in script.events):
            player.largest_payload = 65_535
        player.play(script, to_the_end=False)
    except (NotPlayed, NotUnderstood) as missing:
        return Outcome(path, "known deviation", f"not played: {missing}")
    except Mismatch as mismatch:
        for pattern, reason in _DEVIATIONS:
            if re.search(pattern, f"{path}: {mismatch}"):
                return Outcome(path, "known deviation", reason)
        return Outcome(path, "fail", str(mismatch))
    return Outcome(path, "pass")


def _adapted(script: Script) -> Script:
    scale = 0
    events = []
    for event in script.events:
        what = event.what
        if isinstance(what, Packet):
            segment = what.segment
            if segment.flags & SYN:
                scale = (segment.window_scale or 0) if not what.sent else scale
            elif not what.sent:
                segment = replace(segment, window=min(segment.window << scale, 65_535))
            what = replace(what, segment=segment, compares_window=False, compares_options=False)
        elif what.name in {"socket", "accept"}:
            what = Call(what.name, what.arguments, None if what.name == "socket" else what.result)
        events.append(Event(event.line, event.when, what))
    return Script(script.settings, events)
