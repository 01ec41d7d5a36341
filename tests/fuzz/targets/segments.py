"""Segments from a guest: their headers, and a connection that is sent anything at all while its owner does anything.

Promises: a header is read or refused, and what was read comes out again as it was. A connection raises nothing, keeps
little, sends nothing that RFC 9293 forbids (`support.tcp_rules`), and gives its reader the guest's stream and no other.

The bytes of `tcp` are a program: what the connection is made of, then operations with their operands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fuzz.targets._api import target
from relay.stack import Stack
from relay.wire.segment import ACK, FIN, PSH, RST, SYN, URG, Segment, build_segment, parse_segment
from relay.wire.sequence import MASK
from relay.wire.tcp import Seen, State, Tcp
from support.tcp_rules import Rules, ours, theirs

_SYN_HEADER: Final = build_segment(
    40_000, 22, Segment(7, 0, SYN, 64_240, mss=1460, sack_permitted=True, window_scale=7)
)
_NUMBERS: Final = (0, 1, 0x7FFF_FFFF, 0x8000_0000, MASK - 1000, MASK)
_FLAGS: Final = (ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK, SYN | FIN | PSH | URG, 0, ACK | URG, FIN)
_WINDOWS: Final = (64_240, 64_240, 0, 1, 1459, 65_535)
_SIZES: Final = (0, 0, 0, 1, 2, 100, 1460, 1460, 4000)
_AFTER_THE_END: Final = 5
_STACKS: Final = (
    Stack(),
    Stack(ack="each", first_retransmit_s=0.1025, after_reset="linger", stray_window=32_767),
    Stack(window=1000, nagle=True, rst="window", retransmit_tries=1, syn_retransmit_tries=1, time_wait_s=0),
    Stack(window=1, mss=48, fin_wait_2_s=0, delayed_ack_s=0),
)
_SEEN: Final = {name.lower(): flag for name, flag in vars(Seen).items() if name.isupper()}


@target(
    _SYN_HEADER,
    _SYN_HEADER[:20],
    b"\x02\x04\x05\xb4",
    b"\x05\x0a\0\0\0\1\0\0\0\2",
    b"\x08\x0a\0\0\0\1\0\0\0\2",
    b"\x01\x00",
)
def fuzz_tcp_header(data: bytes) -> str:
    parsed = parse_segment(memoryview(data), tos=3)
    if parsed is None:
        return "no segment"
    source, destination, segment = parsed
    header = build_segment(source, destination, segment)
    assert parse_segment(memoryview(header + bytes(segment.payload)), tos=3) == parsed
    options = [
        name for name in ("mss", "window_scale", "sack_permitted", "timestamps", "sack") if getattr(segment, name)
    ]
    return " ".join(["segment", *options, "with text" if segment.payload else ""])


class _Program:
    """Reads operands; at its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def number(self, size: int = 1) -> int:
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at])

    def signed(self, size: int) -> int:
        return self.number(size) - (1 << (8 * size - 1))

    def one_of(self, choices: tuple[int, ...]) -> int:
        picked = self.number()
        return choices[picked % len(choices)]

    def near(self, likely: int, other: int) -> int:
        """A sequence number: most often the likely one."""
        how = self.number() % 8
        if how < 4:
            return likely
        return (likely + self.signed(1), likely + self.signed(2), other + self.signed(1), self.number(4))[how - 4]


class _Connection:
    """A connection, the rules that it is held to, and what is done with it."""

    def __init__(self, program: _Program) -> None:
        self.program = program
        self.now_s = 0.0
        self.seen = 0
        self.segments = 0
        stack = _STACKS[program.number() % len(_STACKS)]
        isn, guest_isn = program.one_of(_NUMBERS), program.one_of(_NUMBERS)
        if program.number() % 4:
            self.tcp = Tcp.answering(stack, self._segment(guest_isn, 0, SYN), isn, 0.0)
            if program.number() % 4:
                self.tcp.grant(0.0)
        else:
            self.tcp = Tcp.opening(stack, isn, 0.0)
        self.rules = Rules(self.tcp)
        self.rules.check(None, 0)
        self._started = guest_isn

    def step(self) -> None:
        """One operation."""
        operation = self.program.number()
        arrived = None
        if operation < 160:
            arrived = self._arriving()
            before = self.tcp.state
            seen = self.tcp.on_segment(arrived, self.now_s)
            self.segments += 1
            assert before is not State.CLOSED or not self.tcp.output
        else:
            seen = _OPERATIONS[operation % len(_OPERATIONS)](self)
        self.seen |= seen
        self.rules.check(arrived, seen)

    def _arriving(self) -> Segment:
        program, tcp = self.program, self.tcp
        is_dialling = tcp.state is State.SYN_SENT
        seq = program.near(self._started if is_dialling else tcp.receiver.next, tcp.receiver.right)
        ack = program.near(tcp.sender.high, tcp.sender.una)
        picked = program.number()
        if picked < 200:
            flags = SYN | ACK if is_dialling else ACK | PSH
        else:
            flags = _FLAGS[picked % len(_FLAGS)] if picked < 245 else program.number()
        return self._segment(seq, ack, flags)

    def _segment(self, seq: int, ack: int, flags: int) -> Segment:
        program = self.program
        size = program.one_of(_SIZES)
        window = program.one_of(_WINDOWS)
        extra = program.number()
        return Segment(
            seq & MASK,
            ack & MASK,
            flags,
            window,
            theirs(seq + (flags >> 1 & 1), size),
            tos=0x48 if extra > 200 else 0,
            mss=(None, 0, 1, 536, 1460, 65_535)[extra % 6] if flags & SYN else None,
        )

    def pass_time(self) -> int:
        due_s = self.tcp.next_deadline_s
        if due_s is None or self.program.number() % 4 == 0:
            self.now_s += self.program.number() / 100
        else:
            self.now_s = max(self.now_s, due_s)
        seen = self.tcp.on_deadline(self.now_s)
        self.rules.check_time(self.now_s)
        return seen

    def send(self) -> int:
        sender, size = self.tcp.sender, self.program.number(2) % 9000
        if len(sender.queue) > 200_000:
            return 0
        return self.tcp.send(ours(sender.queue.end, size), self.now_s)

    def read(self) -> int:
        buffer = memoryview(bytearray(self.program.one_of((1, 100, 5000, 70_000))))
        at = self.tcp.receiver._start
        count = self.tcp.read_into(buffer)
        if count > 0:
            assert buffer[:count] == theirs(at, min(count, 0x1_0000)) if count <= 0x1_0000 else True
        return 0

    def keepalive(self) -> int:
        self.tcp.set_keepalive(
            1 + self.program.number(), 1 + self.program.number(), 1 + self.program.number() % 3, self.now_s
        )
        return 0

    def other(self) -> int:
        tcp, picked = self.tcp, self.program.number() % 6
        if picked == 0:
            tcp.watch_tos(self.program.one_of((0xE0, 0xFF, 0)))
        elif picked == 1:
            tcp.limit_window(self.program.number(2))
        elif picked == 2:
            tcp.blackhole(bool(self.program.number() % 2))
        elif picked == 3:
            tcp.answers_probes = bool(self.program.number() % 2)
        elif picked == 4:
            tcp.answer_probe()
        else:
            tcp.set_max_payload(self.program.number(2))
        return 0


def _end(connection: _Connection) -> int:
    verbs = (connection.tcp.finish, connection.tcp.close, connection.tcp.reset, connection.tcp.refuse)
    return verbs[connection.program.number() % len(verbs)](connection.now_s)


_OPERATIONS: Final[tuple[Callable[[_Connection], int], ...]] = (
    *[_Connection.pass_time] * 8,
    *[_Connection.send] * 8,
    *[_Connection.read] * 6,
    *[_Connection.other] * 4,
    _Connection.keepalive,
    *[lambda connection: connection.tcp.grant(connection.now_s)] * 6,
    lambda connection: connection.tcp.finish(connection.now_s),
    lambda connection: connection.tcp.let_through(connection.now_s),
    _end,
)


def run_program(data: bytes) -> tuple[int, str]:
    """Run a program; returns how many segments arrived, and what came of it."""
    program = _Program(data)
    connection = _Connection(program)
    after_the_end = 0
    while not program.is_over and after_the_end < _AFTER_THE_END:
        connection.step()
        after_the_end += connection.tcp.state is State.CLOSED
    seen = [name for name, flag in _SEEN.items() if connection.seen & flag]
    return connection.segments, " ".join([connection.tcp.state.name.lower(), *seen])


@target(b"\xa8", b"\0\0\0\0", b"\0\4\0\4", bytes(8), b"\xaa\x01\x00", b"\xac", b"\xad")
def fuzz_tcp(data: bytes) -> str:
    return run_program(data)[1]
