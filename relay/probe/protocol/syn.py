"""A SYN, as a report has it: what its headers say that a NAT might have changed, in numbers.

syn_ttl syn_window syn_mss syn_window_scale   as in the headers; the last two where the options are there
syn_sack syn_timestamps syn_ecn               1 if it asks for that, else 0
syn_options                                   the kinds of its options, in order, as the digits of base 256
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.wire.segment import CWR, ECE, parse_segment

SYN_KEYS = (
    "syn_ttl",
    "syn_window",
    "syn_mss",
    "syn_window_scale",
    "syn_sack",
    "syn_timestamps",
    "syn_ecn",
    "syn_options",
)
_ECN = CWR | ECE  # both, in a SYN (RFC 3168 section 6.1.1)
_MOST_KINDS = 7  # a number of them fits 62 bits
_END, _NOP = 0, 1
_WORDS = {2: "MSS", 3: "window scale", 4: "SACK", 8: "timestamps"}
_IPV6_BYTES = 40


def read_syn(headers: bytes) -> dict[str, int]:
    """What a SYN's headers say, from the IP header on; nothing where they are none."""
    if len(headers) < 20:
        return {}
    is_ipv4 = headers[0] >> 4 == 4
    at, ttl = ((headers[0] & 0x0F) * 4, headers[8]) if is_ipv4 else (_IPV6_BYTES, headers[7])
    tcp = memoryview(headers)[at:]
    parsed = parse_segment(tcp)
    if parsed is None:
        return {}
    segment = parsed[2]
    found = {
        "syn_ttl": ttl,
        "syn_window": segment.window,
        "syn_mss": segment.mss,
        "syn_window_scale": segment.window_scale,
        "syn_sack": int(segment.sack_permitted),
        "syn_timestamps": int(segment.timestamps is not None),
        "syn_ecn": int(segment.flags & _ECN == _ECN),
        "syn_options": int.from_bytes(bytes(_kinds(bytes(tcp[20 : (tcp[12] >> 4) * 4]))[:_MOST_KINDS]), "big"),
    }
    return {key: value for key, value in found.items() if value is not None}


def syn_in_words(syn: Mapping[str, int]) -> str:
    """What a SYN asks for."""
    words = [f"MSS {syn['syn_mss']}"] if "syn_mss" in syn else []
    words += [f"window scale {syn['syn_window_scale']}"] if "syn_window_scale" in syn else []
    words += [word for key, word in _ASKED.items() if syn.get(key)]
    return ", ".join([*words, f"window {syn.get('syn_window')}", f"TTL {syn.get('syn_ttl')}"])


def changes(sent: Mapping[str, int], arrived: Mapping[str, int]) -> list[str]:
    """What is not as it was sent. MSS, window and TTL differ with the way itself, and are no change."""
    found = []
    if sent.get("syn_window_scale") != arrived.get("syn_window_scale"):
        found.append(f"window scale {_shown(sent)} became {_shown(arrived)}")
    for key, word in _ASKED.items():
        if sent.get(key) != arrived.get(key):
            found.append(f"{word} {'was added' if arrived.get(key) else 'is gone'}")
    if not found and sent.get("syn_options") != arrived.get("syn_options"):
        found.append(f"the options came as {_order(arrived)}, not as {_order(sent)}")
    return found


_ASKED = {"syn_sack": "SACK", "syn_timestamps": "timestamps", "syn_ecn": "ECN"}


def _shown(syn: Mapping[str, int]) -> str:
    return str(syn.get("syn_window_scale", "none"))


def _order(syn: Mapping[str, int]) -> str:
    kinds = syn.get("syn_options", 0).to_bytes(_MOST_KINDS, "big").lstrip(b"\0")
    return ", ".join(_WORDS.get(kind, str(kind)) for kind in kinds) or "none"


def _kinds(options: bytes) -> list[int]:
    """The kinds of options, in order; padding left out."""
    kinds, at = [], 0
    while at < len(options) and options[at] != _END:
        if options[at] == _NOP:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            break
        kinds.append(options[at])
        at += options[at + 1]
    return kinds
