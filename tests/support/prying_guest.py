"""A guest that tries to reach what it should not, and under addresses that are not its own.

    python -m support.prying_guest PORT COUNT [DESTINATION | from:SOURCE]...

To each destination, or from each source to the host's address, it sends COUNT SYNs and COUNT datagrams to this port,
straight to the device, and writes which of them had a TCP answer, and with what flags.
"""

from __future__ import annotations

import sys

from relay.wire.packet import UDP, build_ipv4, build_udp, undotted
from relay.wire.segment import ACK, FIN, PSH, RST, SYN, Segment
from support.raw_guest import ADDRESS, RawGuest

HOST = "192.168.127.1"
_LETTERS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "A"))


def main(port: int, count: int, *tries: str) -> None:
    for each in tries:
        source = each.removeprefix("from:") if each.startswith("from:") else ADDRESS
        destination = HOST if each.startswith("from:") else each
        sys.stdout.write(f"{each} {pry(source, destination, port, count)}\n")


def pry(source: str, destination: str, port: int, count: int) -> str:
    """The flags of the first answer; `-` if there is none."""
    with RawGuest(destination, source=source) as guest:
        for number in range(count):
            guest.send(20_000 + number, port, Segment(7, 0, SYN, 64_240, mss=1460))
            ends = (undotted(source), undotted(destination))
            header = build_udp(*ends, 20_000 + number, port, b"let me in")
            ip = build_ipv4(*ends, UDP, len(header) + 9, ttl=64)
            guest.send_packet(ip + header + b"let me in")
        for _, _, _, segment in guest.received(0.3):
            return "".join(letter for flag, letter in _LETTERS if segment.flags & flag)
    return "-"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
