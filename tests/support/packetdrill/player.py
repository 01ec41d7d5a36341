"""Plays a script: our TCP on a virtual clock, the script in the place of the guest and of the program above us."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from relay.settings import read_value, settings_of
from relay.stack import Stack
from relay.wire import stray
from relay.wire.segment import ACK, RST, Segment
from relay.wire.sequence import MASK
from relay.wire.tcp import State, Tcp
from support.packetdrill.calls import CALLS, Descriptor
from support.packetdrill.compare import Mismatch, difference, shown
from support.packetdrill.script import Call, Event, NotPlayed, Packet, Script, When, read_script

_TOLERANCE_S: Final = 0.004  # as packetdrill's own
_PERIOD: Final = 251  # a prime, so that no shift of the stream by a power of two looks right
_STREAM: Final = bytes(range(_PERIOD)) * 2000
_HANDSHAKE: Final = """
+0 < S 0:0(0) win 64240 <mss 1460>
+0 > S. 0:0(0) ack 1 win 64240 <mss 1460>
+0 < . 1:1(0) ack 1 win 64240
"""


@dataclass(frozen=True)
class Numbers:
    """The sequence numbers that stand for 0 in a script."""

    ours: int = 0
    theirs: int = 0


class Player:
    """One script under way."""

    def __init__(self, script: Script, numbers: Numbers, settings: Mapping[str, object]) -> None:
        declared = settings_of(Stack)
        own = {key: read_value(Stack, key, text, where=key) for key, text in script.settings.items() if key in declared}
        self.stack = Stack.of({**settings, **own})
        self.numbers = numbers
        self.now_s = 0.0
        self.tcp: Tcp | None = None
        verbs = {event.what.name for event in script.events if isinstance(event.what, Call)}
        self.listening = verbs.isdisjoint({"socket", "dial"})
        self.descriptors = {4: Descriptor(connected=True)} if "socket" not in verbs else {}
        self.written = 1
        """The relative sequence number of the next octet to write."""
        self.ever_seen = 0
        self.largest_payload = 0
        """What the link takes, if that is more than the MSS."""
        self._read = 1
        self._seen = 0
        self._grants = verbs.isdisjoint({"grant", "refuse"})
        self._sent: deque[tuple[float, Segment]] = deque()
        self._blocking: list[tuple[float, Call]] = []

    def play(self, script: Script, *, to_the_end: bool = True) -> None:
        """Play all of it; `to_the_end`: nothing may be sent after what the script expects.

        Raises:
            Mismatch: the first difference.
            NotPlayed: a call that is unknown here.
        """
        for event in script.events:
            try:
                self._play(event)
            except Mismatch as mismatch:
                raise Mismatch(f"line {event.line}: {mismatch}") from None
        if to_the_end and self._sent:
            raise Mismatch(f"at the end: unexpected {self._shown(self._sent[0][1])}")

    # For calls

    @property
    def connection(self) -> Tcp:
        """The connection, which must be there."""
        if self.tcp is None:
            raise Mismatch("there is no connection")
        return self.tcp

    def octets(self, start: int, size: int) -> bytes:
        """What every stream consists of, from the relative sequence number `start` on."""
        at = start % _PERIOD
        return _STREAM[at : at + size]

    def allow_payload(self, tcp: Tcp) -> None:
        """Tell a new connection what the link takes."""
        if self.largest_payload:
            tcp.set_max_payload(self.largest_payload)

    def see(self, seen: int) -> None:
        """Note what a verb brought about."""
        self._seen |= seen
        self.ever_seen |= seen

    def check_read(self, data: bytes) -> None:
        """Compare what was read with the stream."""
        if data != self.octets(self._read, len(data)):
            raise Mismatch(f"{len(data)} bytes read are not those of the stream")
        self._read += len(data)

    def check_seen(self, expected: int, names: Mapping[str, int]) -> None:
        """Compare what was seen since the last time."""
        seen, self._seen = self._seen, 0
        if seen != expected:
            raise Mismatch(f"saw {[name for name, flag in names.items() if seen & flag]}")

    def check_state(self, expected: State) -> None:
        """Compare the connection's state."""
        if self.connection.state is not expected:
            raise Mismatch(f"the state is {self.connection.state.name}")

    # Events

    def _play(self, event: Event) -> None:
        low_s, high_s = self._absolute(event.when)
        what = event.what
        for due_s, call in [blocking for blocking in self._blocking if blocking[0] <= low_s]:
            self._blocking.remove((due_s, call))
            self._run_until(due_s)
            self._call(call)
        if isinstance(what, Packet) and what.sent:
            self._expect(what, low_s, high_s)
            return
        self._run_until(low_s)
        self.now_s = max(self.now_s, low_s)
        if isinstance(what, Packet):
            if self._sent:
                raise Mismatch(f"unexpected {self._shown(self._sent[0][1])}")
            self._arrive(what.segment)
        elif high_s > low_s and what.name != "connect":
            self._blocking.append((high_s, what))
        else:
            self._call(what)

    def _absolute(self, when: When) -> tuple[float, float]:
        base_s = self.now_s if when.relative else 0.0
        return base_s + when.low_s, base_s + when.high_s

    def _run_until(self, limit_s: float, *, stops_at_output: bool = False) -> None:
        """Let time pass, deadline by deadline."""
        while self.tcp is not None and not (stops_at_output and self._sent):
            due_s = self.tcp.next_deadline_s
            if due_s is None or due_s > limit_s:
                return
            self.now_s = max(self.now_s, due_s)
            self.see(self.tcp.on_deadline(self.now_s))
            self._collect()

    def _arrive(self, relative: Segment) -> None:
        segment = replace(
            relative,
            seq=relative.seq + self.numbers.theirs & MASK,
            ack=relative.ack + self.numbers.ours & MASK if relative.flags & ACK else 0,
            payload=self.octets(relative.seq + (relative.flags >> 1 & 1), len(relative.payload)),
        )
        if self.tcp is not None and self.tcp.state is not State.CLOSED:
            self.see(self.tcp.on_segment(segment, self.now_s))
        elif self.listening and stray.opens(segment, self.stack):
            self.tcp = Tcp.answering(self.stack, segment, self.numbers.ours, self.now_s)
            self.allow_payload(self.tcp)
            self.written = self._read = 1
            if self._grants:
                self.tcp.grant(self.now_s)
        elif (answer := stray.answer(segment, self.stack)) is not None:
            self._sent.append((self.now_s, answer))
        self._collect()

    def _call(self, call: Call) -> None:
        perform = CALLS.get(call.name)
        if perform is None:
            raise NotPlayed(f"call {call.name}")
        try:
            returned = perform(self, *call.arguments)
        except (LookupError, TypeError, ValueError) as unusual:
            raise NotPlayed(f"call {call.name}({', '.join(call.arguments)})") from unusual
        self._collect()
        if returned is None or call.result is None or call.result.startswith("..."):
            return
        words = returned.split()
        if call.result.split()[: len(words)] != words:
            raise Mismatch(f"{call.name} returned {returned}, not {call.result}")

    def _collect(self) -> None:
        if self.tcp is not None:
            self._sent.extend((self.now_s, segment) for segment in self.tcp.take_output())

    def _expect(self, packet: Packet, low_s: float, high_s: float) -> None:
        self._run_until(high_s + _TOLERANCE_S, stops_at_output=True)
        wanted = replace(packet.segment, payload=self.octets(packet.segment.seq, len(packet.segment.payload)))
        if not self._sent:
            raise Mismatch(f"nothing sent, not {shown(wanted)}")
        at_s, segment = self._sent.popleft()
        sent = self._shown(segment)
        if found := difference(packet, wanted, self._relative(segment)):
            raise Mismatch(f"{found}: {sent}")
        if not low_s - _TOLERANCE_S <= at_s <= high_s + _TOLERANCE_S:
            raise Mismatch(f"sent at {at_s:.4f} s, not from {low_s:.4f} to {high_s:.4f} s: {sent}")
        self.now_s = max(self.now_s, low_s if not math.isinf(high_s) else at_s)

    def _relative(self, segment: Segment) -> Segment:
        is_refusal = segment.flags == RST | ACK and segment.seq == 0  # of ours there is no number yet
        return replace(
            segment,
            seq=0 if is_refusal else segment.seq - self.numbers.ours & MASK,
            ack=segment.ack - self.numbers.theirs & MASK if segment.flags & ACK else 0,
        )

    def _shown(self, segment: Segment) -> str:
        return shown(self._relative(segment))


def play(text: str, numbers: Numbers = Numbers(), **settings: object) -> Player:
    """Play a script's text; returns the player as the script leaves it.

    Raises:
        Mismatch: the first difference.
        NotPlayed: the script uses what this player lacks.
        NotUnderstood: it cannot be read.
    """
    script = read_script(text)
    player = Player(script, numbers, settings)
    player.play(script)
    return player


def play_opened(text: str, **settings: object) -> Player:
    """Play a script that begins with an established connection, after a handshake that took no time."""
    script = read_script(_HANDSHAKE + text)
    player = Player(script, Numbers(), settings)
    player.play(script)
    return player
