"""One TCP connection toward the guest, as a value (RFC 9293 section 3.10).

    answering: PENDING --grant--> SYN_RECEIVED --ACK--> ESTABLISHED --finish--> FIN_WAIT_1 ... TIME_WAIT
    opening:   SYN_SENT ------SYN,ACK---------------------^     |------FIN----> CLOSE_WAIT, LAST_ACK

No verb does I/O: time comes in as an argument, segments wait for `take_output`, and what happened is in the `Seen` that
each verb returns. A connection that answers a SYN is PENDING, and mute, until the server was reached: `grant`, or
`refuse`. What arrives is checked in the order of RFC 9293: sequence, RST, precedence (RFC 793's third check, where a
mask says so), SYN, ACK, text, FIN.

Positions are integers that do not wrap; see `relay.wire.sequence`.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final

from relay.legs import BROKEN, WOULD_BLOCK
from relay.wire.receiver import Receiver
from relay.wire.segment import ACK, FIN, PSH, RST, SYN, Segment
from relay.wire.sender import Cut, Sender
from relay.wire.sequence import MASK, acceptable, position
from relay.wire.stack import Stack
from relay.wire.stray import answer

_NEVER: Final = math.inf
_DEFAULT_MSS: Final = 536  # MUST-15: what a SYN without the option means
_LEAST_MSS: Final = 48  # less than this is no link, but a way to have many segments sent
_ROOM_BYTES: Final = 128 * 1024  # two windows


class Seen:
    """What a verb brought about: flags in an integer. (An IntFlag would cost a microsecond for each operation.)"""

    READABLE: Final = 1
    """There is something to read."""
    ROOM: Final = 2
    """`has_room` is true again."""
    FIN: Final = 4
    """Everything that the guest sends has arrived."""
    RST: Final = 8
    """The guest reset the connection."""
    TIMED_OUT: Final = 16
    """The guest does not answer any more."""
    ESTABLISHED: Final = 32
    PROBE: Final = 64
    """A keepalive probe came; it was answered if `answers_probes`."""
    TOS: Final = 128
    """A marked segment is withheld: `let_through` or `reset`."""
    CLOSED: Final = 256
    """The connection is over; whoever holds it may forget it."""
    REUSED: Final = 512
    """The segment opens the next connection between the same ports: it was not processed."""


class State(Enum):
    """RFC 9293's states, and PENDING: a SYN came and is not answered yet."""

    PENDING = auto()
    SYN_SENT = auto()
    SYN_RECEIVED = auto()
    ESTABLISHED = auto()
    FIN_WAIT_1 = auto()
    FIN_WAIT_2 = auto()
    CLOSE_WAIT = auto()
    CLOSING = auto()
    LAST_ACK = auto()
    TIME_WAIT = auto()
    CLOSED = auto()


_OPEN = (State.ESTABLISHED, State.CLOSE_WAIT)  # our half may send data


class Tcp:
    """One connection. Make it with `answering` or `opening`."""

    def __init__(self, stack: Stack, state: State, sender: Sender, receiver: Receiver, syn: Segment) -> None:
        self.state = state
        self.syn_tos = syn.tos
        """The TOS byte of the guest's SYN."""
        self.withheld: Segment | None = None
        """The marked segment that waits for `let_through` or `reset`."""
        self.answers_probes = True
        """Whether keepalive probes are answered as they come; if not, `answer_probe` does it."""
        self._stack = stack
        self._sender = sender
        self._receiver = receiver
        self._syn = syn
        self._output: list[Segment] = []
        self._seen = 0
        self._ack_each = stack.ack == "each"
        self._ack_wanted = False
        self._unacked_segments = 0
        self._due_s = _NEVER  # retransmission, window probe, or the end of a wait
        self._ack_due_s = _NEVER
        self._tos_mask = 0
        self._blackholed = False
        self._abandoned = False  # nobody reads, or ever will
        self._reset_sent = False
        self._broken = False

    @classmethod
    def answering(cls, stack: Stack, syn: Segment, isn: int, now_s: float) -> Tcp:
        """A SYN came from the guest. Nothing is sent before `grant` or `refuse`."""
        mss = max(_LEAST_MSS, min(syn.mss or _DEFAULT_MSS, stack.mss))
        sender = Sender(isn, mss, stack.first_retransmit_s, nagle=stack.nagle)
        receiver = Receiver(syn.seq + 1, stack.window, mss)
        receiver.take(syn.seq + 1, syn.payload)
        sender.update_window(syn.seq, 0, syn.window)
        return cls(stack, State.PENDING, sender, receiver, syn)

    @classmethod
    def opening(cls, stack: Stack, isn: int, now_s: float) -> Tcp:
        """Dial the guest: the SYN is in `take_output`."""
        sender = Sender(isn, stack.mss, stack.first_retransmit_s, nagle=stack.nagle)
        tcp = cls(stack, State.SYN_SENT, sender, Receiver(0, stack.window, stack.mss), Segment(0))
        tcp._send_syn(now_s)
        return tcp

    # What the owner asks for

    def grant(self, now_s: float) -> int:
        """The server was reached: answer the SYN."""
        self._seen = 0
        if self.state is State.PENDING:
            self.state = State.SYN_RECEIVED
            self._send_syn(now_s)
        return self._seen

    def refuse(self, now_s: float) -> int:
        """The server refused: RST,ACK, and the end."""
        self._seen = 0
        if self.state is State.PENDING:
            refusal = answer(self._syn, self._stack)
            assert refusal is not None  # noqa: S101 - a SYN is never answered with silence
            self._output.append(refusal)
            self._close()
        return self._seen

    def send(self, data: bytes | bytearray | memoryview, now_s: float) -> int:
        """Send all of `data`, in order, as the guest's window allows; its memory may be reused at once."""
        self._seen = 0
        if not self._sender.finishing and self.state is not State.CLOSED:
            self._sender.queue.append(data)
            self._transmit(now_s)
        return self._seen

    def finish(self, now_s: float) -> int:
        """Send a FIN after everything that was sent."""
        self._seen = 0
        self._finish(now_s)
        return self._seen

    def close(self, now_s: float) -> int:
        """Be done with it: FIN, or RST if bytes of the guest's are unread or come later (SHLD-3)."""
        self._seen = 0
        if self._receiver.unread and self.state is not State.CLOSED:
            return self.reset(now_s)
        self._abandoned = True
        self._finish(now_s)
        if self.state is State.FIN_WAIT_2:
            self._wait(self._stack.fin_wait_2_s, now_s)
        return self._seen

    def reset(self, now_s: float) -> int:
        """Send RST and be done with it.

        While a segment is withheld it is RFC 793's answer to a wrong precedence in SYN-RECEIVED, "send a reset and
        return": the bare RST, at the segment's acknowledgement; the connection stays until the guest's own RST ends it.
        """
        self._seen = 0
        if self.state is State.PENDING:
            return self.refuse(now_s)
        if self.state is State.CLOSED:
            return self._seen
        if self.withheld is not None:
            self._emit_bare_reset(self.withheld.ack)
            self.withheld = None
            self._abandoned = self._reset_sent = True
            self._end_after_reset(now_s)
            return self._seen
        if self.state not in {State.SYN_SENT, State.TIME_WAIT}:
            self._emit_bare_reset(self._sender.nxt & MASK)
        self._close()
        return self._seen

    def read_into(self, view: memoryview) -> int:
        """Read what has arrived: a count, 0 for the guest's FIN, `WOULD_BLOCK`, or `BROKEN` once all was read."""
        receiver = self._receiver
        if receiver.unread and self.state not in {State.PENDING, State.SYN_RECEIVED}:
            count = receiver.read_into(view)
            if receiver.has_reopened() and self.state is not State.CLOSED:
                self._ack_wanted = True
            return count
        if self._broken:
            return BROKEN
        return 0 if receiver.finished else WOULD_BLOCK

    def take_output(self) -> list[Segment]:
        """The segments to send now, in order. Acknowledgements that could wait for others are made here."""
        if self._ack_wanted:
            self._emit_ack()
        output, self._output = self._output, []
        return output

    def watch_tos(self, mask: int) -> None:
        """Withhold segments whose TOS byte differs from the SYN's in these bits; 0 for none."""
        self._tos_mask = mask

    def let_through(self, now_s: float) -> int:
        """Process the withheld segment after all."""
        self._seen = 0
        segment, self.withheld = self.withheld, None
        if segment is not None:
            mask, self._tos_mask = self._tos_mask, 0
            self._arrive(segment, now_s)
            self._tos_mask = mask
        return self._seen

    def answer_probe(self) -> None:
        """Acknowledge, as a keepalive probe wants it."""
        if self.state not in {State.PENDING, State.SYN_SENT, State.CLOSED}:
            self._emit_ack()

    def blackhole(self, on: bool) -> None:
        """Drop everything that the guest sends, unseen and unanswered."""
        self._blackholed = on

    def limit_window(self, size_bytes: int) -> None:
        """Offer no more than what makes about `size_bytes` unread."""
        self._receiver.limit(size_bytes)

    def set_max_payload(self, size_bytes: int) -> None:
        """Put up to so many bytes into a segment: for links that cut segments themselves."""
        self._sender.max_payload = max(size_bytes, self._sender.mss)

    @property
    def mss(self) -> int:
        """The largest payload that the guest takes."""
        return self._sender.mss

    @property
    def unacked_bytes(self) -> int:
        """How many bytes that were sent the guest has not acknowledged."""
        return len(self._sender.queue)

    @property
    def unread_bytes(self) -> int:
        """How many bytes have arrived, and were not read."""
        return self._receiver.unread

    @property
    def has_room(self) -> bool:
        """Whether it is time to send more; `send` takes everything at any time."""
        return len(self._sender.queue) < _ROOM_BYTES

    @property
    def next_deadline_s(self) -> float | None:
        """When `on_deadline` is to be called; None if time changes nothing."""
        due_s = min(self._due_s, self._ack_due_s)
        return None if due_s == _NEVER else due_s

    # What the guest and time do

    def on_deadline(self, now_s: float) -> int:
        """Do what is due by now."""
        self._seen = 0
        if self._ack_due_s <= now_s:
            self._ack_wanted = True
            self._ack_due_s = _NEVER
        if self._due_s <= now_s:
            self._due_s = _NEVER
            self._on_due(now_s)
        return self._seen

    def on_segment(self, segment: Segment, now_s: float) -> int:
        """Take in a segment of the guest's; a payload is copied if it is kept."""
        self._seen = 0
        if not self._blackholed:
            self._arrive(segment, now_s)
        return self._seen

    def _arrive(self, segment: Segment, now_s: float) -> None:
        state = self.state
        if state is State.CLOSED:
            return
        if state is State.PENDING:
            self._arrive_pending(segment)
            return
        if state is State.SYN_SENT:
            self._arrive_in_syn_sent(segment, now_s)
            return
        receiver, flags = self._receiver, segment.flags
        seq = position(segment.seq, receiver.next)
        size = len(segment.payload)
        if flags & SYN and self._arrive_syn_again(segment, seq, now_s):
            return

        # First, the sequence number; a window without room lets ACKs and RSTs pass (MUST-66).
        length = size + (flags >> 1 & 1) + (flags & FIN)
        if not acceptable(seq, length, receiver.next, receiver.right):
            if seq != receiver.next or receiver.right != seq:
                self._arrive_outside(segment, seq, length, now_s)
                return
            size = 0
            flags &= ~FIN
            self._ack_wanted = True

        # Second, RST (RFC 5961 section 3).
        if flags & RST:
            if seq == receiver.next or self._stack.rst == "window":
                self._break(Seen.RST)
            else:
                self._emit_ack()
            return

        # Third, precedence, as RFC 793 had it: before SYN, ACK and text.
        if self._tos_mask and (segment.tos ^ self.syn_tos) & self._tos_mask:
            self._arrive_marked(segment)
            return

        # Fourth, SYN (RFC 5961 section 4).
        if flags & SYN:
            self._emit_ack()
            return

        # Fifth, ACK.
        if not flags & ACK or not self._arrive_ack(segment, seq, length, now_s):
            return

        # Seventh and eighth, text and FIN; urgent data are in the text like any other.
        if size or flags & FIN:
            self._arrive_text(segment, seq, size, flags, now_s)

    def _arrive_pending(self, segment: Segment) -> None:
        flags = segment.flags
        if flags & RST:
            if position(segment.seq, self._receiver.next) == self._receiver.next:
                self._break(Seen.RST)
        elif flags & SYN and not flags & ACK and segment.seq != self._syn.seq:
            # The guest has given up the first SYN, and begun again from the same port.
            self._syn = segment
            self._receiver = Receiver(segment.seq + 1, self._stack.window, self._sender.mss)
            self._receiver.take(segment.seq + 1, segment.payload)

    def _arrive_in_syn_sent(self, segment: Segment, now_s: float) -> None:
        flags, sender = segment.flags, self._sender
        ack = position(segment.ack, sender.nxt)
        if flags & ACK and ack != sender.nxt:
            if not flags & RST:
                self._emit_bare_reset(segment.ack)
            return
        if flags & RST:
            if flags & ACK:
                self._break(Seen.RST)
            return
        if not flags & SYN:
            return
        mss = max(_LEAST_MSS, min(segment.mss or _DEFAULT_MSS, self._stack.mss))
        sender.mss = sender.max_payload = mss
        self._receiver = Receiver(segment.seq + 1, self._stack.window, mss)
        self._receiver.take(segment.seq + 1, segment.payload)
        self._syn, self.syn_tos = segment, segment.tos
        sender.update_window(segment.seq, segment.ack, segment.window)
        if flags & ACK:
            sender.acknowledge(ack, now_s)
            self._establish()
            self._emit_ack()
            self._transmit(now_s)
        else:  # a simultaneous open (MUST-10)
            self.state = State.SYN_RECEIVED
            self._send_syn(now_s)

    def _arrive_syn_again(self, segment: Segment, seq: int, now_s: float) -> bool:
        """A SYN on a connection: the first one once more, or one that reuses the ports (RFC 9293 MAY-2)."""
        if segment.flags & (ACK | RST):
            return False
        if self.state is State.SYN_RECEIVED and segment.seq == self._syn.seq:
            self._send_syn(now_s)
            return True
        if self.state is State.TIME_WAIT and seq >= self._receiver.next:
            self._close()
            self._seen |= Seen.REUSED
            return True
        return False

    def _arrive_outside(self, segment: Segment, seq: int, length: int, now_s: float) -> None:
        if segment.flags & RST:
            return
        receiver = self._receiver
        if length <= 1 and seq == receiver.next - 1 and not segment.flags & (SYN | FIN) and segment.flags & ACK:
            if receiver.right > receiver.next:
                self._seen |= Seen.PROBE
                if not self.answers_probes:
                    return
        elif self.state is State.TIME_WAIT and segment.flags & FIN:
            self._wait(self._stack.time_wait_s, now_s)
        self._emit_ack()

    def _arrive_marked(self, segment: Segment) -> None:
        if self._reset_sent:
            self._emit_bare_reset(segment.ack)
        elif self.withheld is None:
            segment.payload = bytes(segment.payload)
            self.withheld = segment
            self._seen |= Seen.TOS

    def _arrive_ack(self, segment: Segment, seq: int, length: int, now_s: float) -> bool:
        """The fifth check; returns whether the rest of the segment is to be processed."""
        sender = self._sender
        ack = position(segment.ack, sender.una)
        if self.state is State.SYN_RECEIVED:
            if not sender.una < ack <= sender.high:
                self._emit_bare_reset(segment.ack)
                return False
            if sender.tries:
                sender.rto.recover_from_lost_syn()
            self._establish()
        if ack > sender.high or ack < sender.una - 65535:  # RFC 5961 section 5
            self._emit_ack()
            return False
        if ack > sender.una:
            had_room = self.has_room
            again = sender.acknowledge(ack, now_s)
            self._due_s = now_s + sender.rto.value_s if sender.in_flight else _NEVER
            sender.update_window(seq, ack, segment.window)
            if again:
                self._emit_cut(sender.retransmit())
            if not had_room and self.has_room:
                self._seen |= Seen.ROOM
            if sender.finishing and sender.fin_acknowledged and not self._on_fin_acknowledged(now_s):
                return False
            if self._reset_sent:
                self._end_after_reset(now_s)
        elif ack == sender.una:
            window = sender.window
            sender.update_window(seq, ack, segment.window)
            if sender.window == 0:
                sender.tries = 0
            if sender.in_flight and not length and window == sender.window and sender.duplicate():
                self._emit_cut(sender.retransmit())
        if sender.waiting:
            self._transmit(now_s)
        return True

    def _arrive_text(self, segment: Segment, seq: int, size: int, flags: int, now_s: float) -> None:
        receiver = self._receiver
        expected, had_gaps = receiver.next, receiver.has_gaps
        if size:
            if self._abandoned and seq + size > expected:
                self._emit_bare_reset(self._sender.nxt & MASK)
                self._close()
                return
            receiver.take(seq, segment.payload)
        if flags & FIN:
            receiver.take_fin(seq + size)
        if self._ack_each or receiver.next == expected or receiver.has_gaps:
            self._emit_ack()  # where there is a gap, at once: it tells the guest what is missing
        elif receiver.finished or had_gaps:
            self._ack_wanted = True
        else:
            self._acknowledge_text(receiver.next - expected, now_s)
        if receiver.unread:
            self._seen |= Seen.READABLE
        if receiver.finished and expected != receiver.next:
            self._on_fin(now_s)

    def _acknowledge_text(self, size: int, now_s: float) -> None:
        self._unacked_segments += 1
        if self._unacked_segments > 1 or size > self._sender.mss:
            self._ack_wanted = True
        elif self._ack_due_s == _NEVER:
            self._ack_due_s = now_s + self._stack.delayed_ack_s

    # Steps

    def _establish(self) -> None:
        self.state = State.FIN_WAIT_1 if self._sender.finishing else State.ESTABLISHED
        self._seen |= Seen.ESTABLISHED
        if self._receiver.unread:
            self._seen |= Seen.READABLE

    def _finish(self, now_s: float) -> None:
        if self.state in {State.PENDING, State.SYN_SENT}:
            self._close()
        elif not self._sender.finishing and self.state is not State.CLOSED:
            self._sender.finishing = True
            if self.state is not State.SYN_RECEIVED:
                self.state = State.LAST_ACK if self.state is State.CLOSE_WAIT else State.FIN_WAIT_1
                self._transmit(now_s)

    def _on_fin(self, now_s: float) -> None:
        self._seen |= Seen.FIN
        if self.state is State.ESTABLISHED:
            self.state = State.CLOSE_WAIT
        elif self.state is State.FIN_WAIT_1:
            self.state = State.CLOSING
        elif self.state is State.FIN_WAIT_2:
            self._enter_time_wait(now_s)

    def _on_fin_acknowledged(self, now_s: float) -> bool:
        if self.state is State.FIN_WAIT_1:
            self.state = State.FIN_WAIT_2
            if self._abandoned:
                self._wait(self._stack.fin_wait_2_s, now_s)
        elif self.state is State.CLOSING:
            self._enter_time_wait(now_s)
        elif self.state is State.LAST_ACK:
            self._close()
        return self.state is not State.CLOSED

    def _enter_time_wait(self, now_s: float) -> None:
        self.state = State.TIME_WAIT
        self._wait(self._stack.time_wait_s, now_s)

    def _wait(self, delay_s: float, now_s: float) -> None:
        self._due_s = now_s + delay_s if delay_s else _NEVER

    def _end_after_reset(self, now_s: float) -> None:
        if not self._sender.in_flight:
            if self._stack.after_reset == "close":
                self._close()
            else:
                self._wait(self._stack.fin_wait_2_s, now_s)

    def _break(self, how: int) -> None:
        self._broken = True
        self._seen |= how
        self._close()

    def _close(self) -> None:
        self.state = State.CLOSED
        self._seen |= Seen.CLOSED
        self._due_s = self._ack_due_s = _NEVER
        self._ack_wanted = False
        self.withheld = None

    def _on_due(self, now_s: float) -> None:
        sender = self._sender
        if not sender.in_flight and not sender.waiting:
            self._close()  # TIME_WAIT, or FIN_WAIT_2 with nobody there, is over
            return
        in_handshake = self.state in {State.SYN_SENT, State.SYN_RECEIVED}
        if sender.tries >= (self._stack.syn_retransmit_tries if in_handshake else self._stack.retransmit_tries):
            self._break(Seen.TIMED_OUT)
        elif in_handshake:
            sender.time_out()
            self._send_syn(now_s)
        else:
            if sender.in_flight:
                sender.time_out()
                self._emit_cut(sender.retransmit())
            else:
                self._emit_cut(sender.cut(now_s, override=True) or sender.probe())
            self._due_s = now_s + sender.rto.value_s

    # Output

    def _send_syn(self, now_s: float) -> None:
        sender, receiver = self._sender, self._receiver
        mss = self._stack.mss if self._stack.syn_ack_options == "mss" else None
        if self.state is State.SYN_SENT:
            segment = Segment(sender.una & MASK, 0, SYN, self._stack.window, mss=mss)
        else:
            segment = Segment(sender.una & MASK, receiver.next & MASK, SYN | ACK, receiver.offer(), mss=mss)
        if sender.nxt == sender.una:
            sender.advance(1, now_s)
        self._output.append(segment)
        self._due_s = now_s + sender.rto.value_s

    def _transmit(self, now_s: float) -> None:
        """Send what the window allows, and see that a timer runs if anything is in flight or waits."""
        sender = self._sender
        if self.state in {State.SYN_SENT, State.SYN_RECEIVED, State.PENDING}:
            return
        was_in_flight = sender.in_flight
        while (cut := sender.cut(now_s)) is not None:
            self._emit_cut(cut)
        if sender.in_flight > was_in_flight or (sender.waiting and self._due_s == _NEVER):
            self._due_s = now_s + sender.rto.value_s

    def _emit_cut(self, cut: Cut) -> None:
        start, payload, fin = cut
        flags = ACK
        if fin:
            flags |= FIN
        if payload and start + len(payload) == self._sender.queue.end:
            flags |= PSH
        self._emit(Segment(start & MASK, self._receiver.next & MASK, flags, self._receiver.offer(), payload))

    def _emit_ack(self) -> None:
        receiver = self._receiver
        self._emit(Segment(self._sender.nxt & MASK, receiver.next & MASK, ACK, receiver.offer()))

    def _emit(self, segment: Segment) -> None:
        self._ack_wanted = False
        self._unacked_segments = 0
        self._ack_due_s = _NEVER
        self._output.append(segment)

    def _emit_bare_reset(self, seq: int) -> None:
        self._output.append(Segment(seq, 0, RST, self._receiver.offer()))
