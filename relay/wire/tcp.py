"""One TCP connection toward the guest, as a value: the verbs of its owner.

No verb does I/O: time comes in as an argument, segments wait for `take_output`, and what happened is in the flags
(`relay.wire.seen.Seen`) that each verb returns.

    answering   a SYN came; the connection is PENDING, and mute, until `grant` or `refuse`
    opening     the SYN is ours; a SYN,ACK establishes it
"""

from __future__ import annotations

from typing import Final

from relay.legs import BROKEN, WOULD_BLOCK
from relay.stack import Stack
from relay.wire.arrival import arrive
from relay.wire.seen import Seen, State
from relay.wire.segment import Segment
from relay.wire.sequence import MASK
from relay.wire.stray import answer
from relay.wire.tcb import NEVER, ROOM_BYTES, Tcb

__all__ = ["BROKEN", "WOULD_BLOCK", "Seen", "State", "Tcp"]

# Tuples, for a State in a set is hashed in Python.
_UNANSWERED: Final = (State.PENDING, State.SYN_SENT)
_UNESTABLISHED: Final = (*_UNANSWERED, State.SYN_RECEIVED)
_SYNCHRONISED: Final = tuple(state for state in State if state not in {*_UNESTABLISHED, State.CLOSED})


class Tcp(Tcb):
    """One connection. Make it with `answering` or `opening`."""

    __slots__ = ()

    @classmethod
    def answering(cls, stack: Stack, syn: Segment, isn: int, now_s: float) -> Tcp:
        """A SYN came from the guest. Nothing is sent before `grant` or `refuse`."""
        tcp = cls(stack, State.PENDING, isn, now_s)
        tcp.hear_syn(syn)
        return tcp

    @classmethod
    def opening(cls, stack: Stack, isn: int, now_s: float) -> Tcp:
        """Dial the guest: the SYN is in `take_output`."""
        tcp = cls(stack, State.SYN_SENT, isn, now_s)
        tcp.send_syn(now_s)
        return tcp

    # The handshake

    def grant(self, now_s: float) -> int:
        """The server was reached: answer the SYN."""
        self.seen = 0
        if self.state is State.PENDING:
            self.state = State.SYN_RECEIVED
            self.send_syn(now_s)
        return self.seen

    def refuse(self, now_s: float) -> int:
        """The server refused: RST,ACK, and the end. (For silence, forget the connection.)"""
        self.seen = 0
        if self.state is State.PENDING:
            refusal = answer(self.syn, self.stack)
            if refusal is not None:
                self.output.append(refusal)
            self.end()
        return self.seen

    # Bytes

    def send(self, data: bytes | bytearray | memoryview, now_s: float) -> int:
        """Send all of `data`, in order, as the guest's window allows; its memory may be reused at once."""
        self.seen = 0
        if not self.sender.finishing and self.state is not State.CLOSED:
            self.sender.queue.append(data)
            self.transmit(now_s)
        return self.seen

    def read_into(self, view: memoryview) -> int:
        """Read what has arrived: a count, 0 for the guest's FIN, `WOULD_BLOCK`, or `BROKEN` once all was read.

        Reading may open the window again; the guest hears of it by `take_output`.
        """
        receiver = self.receiver
        if receiver.unread and self.state not in _UNESTABLISHED:
            count = receiver.read_into(view)
            self._tell_of_room()
            return count
        if receiver.finished:
            return 0
        return BROKEN if self.broken else WOULD_BLOCK

    def take_output(self) -> list[Segment]:
        """The segments to send now, in order. Acknowledgements that can serve several segments are made here.

        So take in all that has arrived before this is called (RFC 9293 MUST-58 and MUST-59).
        """
        if self.ack_wanted:
            self.emit_ack()
        output, self.output = self.output, []
        return output

    # The end

    def finish(self, now_s: float) -> int:
        """Send a FIN after everything that was sent; what the guest sends is still read.

        During the handshake the FIN waits for its end, as data do.
        """
        self.seen = 0
        self.send_fin(now_s)
        return self.seen

    def close(self, now_s: float) -> int:
        """End the connection: a FIN, or a RST if bytes of the guest's are unread, or come later (RFC 9293 SHLD-3).

        The guest has to acknowledge our FIN, and has `fin_wait_2_s` to end its own half.
        """
        if self.receiver.unread:
            return self.reset(now_s)
        self.seen = 0
        self.abandoned = True
        if self.state in _UNANSWERED:
            self.end()
        self.send_fin(now_s)
        if self.state is State.FIN_WAIT_2:
            self.wait(self.stack.fin_wait_2_s, now_s)
        return self.seen

    def reset(self, now_s: float) -> int:
        """Send RST and be done with it.

        While a marked segment is withheld this is RFC 793's answer in SYN-RECEIVED to a wrong precedence, "send a reset
        and return": a bare RST at the segment's acknowledgement, while the connection stays as it is. What is in flight
        is sent again in its time, and the guest's own RST ends the connection; if nothing is, `after_reset` says how.
        """
        if self.state is State.PENDING:
            return self.refuse(now_s)
        self.seen = 0
        if self.withheld is not None:
            self.emit_reset(self.withheld.ack)
            self.withheld = None
            self.abandoned = self.reset_sent = True
            if not self.sender.in_flight:
                self.end_after_reset(now_s)
        elif self.state is not State.CLOSED:
            if self.state is not State.SYN_SENT and self.state is not State.TIME_WAIT:
                self.emit_reset(self.sender.nxt & MASK)
            self.end()
        return self.seen

    def give_up(self, now_s: float) -> int:
        """Send RST, and be over as if the guest had reset it: for its place is needed."""
        self.reset(now_s)
        self.broken = True
        self.seen |= Seen.RST
        return self.seen

    # What the guest and time do

    def on_segment(self, segment: Segment, now_s: float) -> int:
        """Take in a segment of the guest's; a payload is copied if it is kept."""
        self.seen = 0
        if not self.blackholed:
            keepalive = self.keepalive
            keepalive.heard_s = now_s
            if keepalive.unanswered:
                keepalive.unanswered = 0
                self.seen = Seen.ANSWERED
            arrive(self, segment, now_s)
        return self.seen

    def on_deadline(self, now_s: float) -> int:
        """Do what is due by now."""
        self.seen = 0
        if self.ack_due_s <= now_s:
            self.ack_due_s = NEVER
            self.ack_wanted = True
        if self.due_s <= now_s:
            self.due_s = NEVER
            self._on_due(now_s)
        if self.keepalive.due_s <= now_s:
            self._on_keepalive_due(now_s)
        return self.seen

    # What can be asked and set at any time

    def watch_tos(self, mask: int) -> None:
        """Withhold segments whose TOS byte differs from that of the guest's SYN in these bits; 0: none."""
        self.tos_mask = mask

    def let_through(self, now_s: float) -> int:
        """Process the withheld segment after all."""
        self.seen = 0
        segment, self.withheld = self.withheld, None
        if segment is not None:
            mask, self.tos_mask = self.tos_mask, 0
            arrive(self, segment, now_s)
            self.tos_mask = mask
        return self.seen

    def answer_probe(self) -> None:
        """Answer a keepalive probe that was not answered as it came."""
        if self.state is not State.CLOSED and self.state not in _UNANSWERED:
            self.emit_ack()

    def probe(self) -> None:
        """Ask the guest by a keepalive probe whether it is there; `Seen.ANSWERED` says that it is."""
        if self.state in _SYNCHRONISED:
            self.keepalive.unanswered += 1
            self.emit_probe()

    def set_keepalive(self, idle_s: float, interval_s: float, count: int, now_s: float) -> None:
        """Probe the guest once it has been silent for `idle_s`, then every `interval_s`.

        When `count` probes in a row are unanswered the guest is dead: `Seen.TIMED_OUT`.
        """
        if self.state is not State.CLOSED:
            self.keepalive.start(idle_s, interval_s, count, now_s)

    def blackhole(self, on: bool) -> None:
        """Drop everything that the guest sends, unseen and unanswered, as a dead host does."""
        self.blackholed = on

    def limit_window(self, size_bytes: int) -> None:
        """Limit the offer to what makes about `size_bytes` unread; what was offered is not taken back."""
        self.receiver.limit(size_bytes)
        self._tell_of_room()

    def set_max_payload(self, size_bytes: int) -> None:
        """Put up to so many bytes into a segment, where the link itself cuts it into pieces of `mss`."""
        self.sender.allow_payload(size_bytes)

    @property
    def syn_tos(self) -> int:
        """The TOS byte of the guest's SYN."""
        return self.syn.tos

    @property
    def mss(self) -> int:
        """The largest payload that the guest takes."""
        return self.sender.mss

    @property
    def unacked_bytes(self) -> int:
        """How many bytes that were sent the guest has not acknowledged."""
        return len(self.sender.queue)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of `send` were not sent yet."""
        return max(0, self.sender.queue.end - max(self.sender.nxt, self.sender.queue.start))  # a SYN is before them

    @property
    def unread_bytes(self) -> int:
        """How many bytes have arrived and were not read."""
        return self.receiver.unread

    @property
    def has_room(self) -> bool:
        """Whether to send more now; if not, `Seen.ROOM` says when. `send` takes everything at any time."""
        return len(self.sender.queue) < ROOM_BYTES

    @property
    def next_deadline_s(self) -> float | None:
        """When `on_deadline` is to be called; None if time changes nothing."""
        due_s = min(self.due_s, self.ack_due_s, self.keepalive.due_s)
        return None if due_s == NEVER else due_s

    def _tell_of_room(self) -> None:
        if self.state in _SYNCHRONISED and self.receiver.has_reopened():
            self.ack_wanted = True

    def _on_due(self, now_s: float) -> None:
        sender, stack = self.sender, self.stack
        if not sender.in_flight and not sender.waiting:
            self.end()  # a wait is over, in TIME_WAIT or for an end that the guest owes
            return
        in_handshake = self.state in _UNESTABLISHED
        if sender.tries >= (stack.syn_retransmit_tries if in_handshake else stack.retransmit_tries):
            self.break_off(Seen.TIMED_OUT)
            return
        if in_handshake:
            sender.time_out()
            self.send_syn(now_s)
        elif sender.in_flight:
            sender.time_out()
            self.emit_cut(sender.retransmit())
        else:
            self.emit_cut(sender.cut(now_s, override=True) or sender.probe())
        self.due_s = now_s + sender.rto.value_s

    def _on_keepalive_due(self, now_s: float) -> None:
        keepalive = self.keepalive
        if not keepalive.is_silent(now_s) or self.state in _UNESTABLISHED:
            return
        if keepalive.is_dead():
            self.break_off(Seen.TIMED_OUT)
        else:
            keepalive.unanswered += 1
            self.emit_probe()
