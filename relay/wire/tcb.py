"""The transmission control block: what a connection knows, what it emits, and how it passes from state to state.

    PENDING --> SYN_RECEIVED --> ESTABLISHED --------> FIN_WAIT_1 --> FIN_WAIT_2 --> TIME_WAIT --> CLOSED
                SYN_SENT ----------^      \\--> CLOSE_WAIT     \\--> CLOSING ------------^
                                                  \\--> LAST_ACK --> CLOSED

`relay.wire.tcp` has the verbs of its owner, `relay.wire.arrival` what is done with segments; both act on this.
"""

from __future__ import annotations

import math
from typing import Final

from relay.stack import Stack
from relay.wire.keepalive import Keepalive
from relay.wire.receiver import Receiver
from relay.wire.seen import Seen, State
from relay.wire.segment import ACK, FIN, PSH, RST, SYN, Segment
from relay.wire.sender import Cut, Sender
from relay.wire.sequence import MASK

NEVER: Final = math.inf
ROOM_BYTES: Final = 128 * 1024
"""How much may be sent ahead of the guest's acknowledgements: two windows."""
_DEFAULT_MSS: Final = 536  # MUST-15: what a SYN without the option means
_LEAST_MSS: Final = 48  # less is no link's, but makes many segments of few bytes
_CHALLENGES: Final = 10  # RFC 5961 section 7: at most this many challenge ACKs
_CHALLENGED_S: Final = 5.0  # within this time
_WITHOUT_DATA: Final = (State.PENDING, State.SYN_SENT, State.SYN_RECEIVED, State.CLOSED)


class Tcb:
    """One connection's state. Times are in seconds."""

    __slots__ = (
        "_challenged_s",
        "_challenges",
        "_unacknowledged",
        "abandoned",
        "ack_due_s",
        "ack_wanted",
        "acknowledges_each",
        "answers_probes",
        "blackholed",
        "broken",
        "due_s",
        "keepalive",
        "output",
        "receiver",
        "reset_sent",
        "seen",
        "sender",
        "stack",
        "state",
        "syn",
        "tos_mask",
        "withheld",
    )

    def __init__(self, stack: Stack, state: State, isn: int, now_s: float) -> None:
        self.stack = stack
        self.state = state
        self.sender = Sender(isn, stack.mss, stack.first_retransmit_s, nagle=stack.nagle)
        self.receiver = Receiver(stack.window)
        self.keepalive = Keepalive(now_s)
        self.syn = Segment(0)
        """The guest's SYN, without its payload."""
        self.output: list[Segment] = []
        self.seen = 0
        """What the verb that is under way has brought about."""
        self.due_s = NEVER
        """When a retransmission or a window probe is due, or a wait is over."""
        self.acknowledges_each = stack.ack == "each"
        self.ack_due_s = NEVER
        self.ack_wanted = False
        """Whether an acknowledgement goes out unless other segments take it along."""
        self.tos_mask = 0
        self.withheld: Segment | None = None
        """The marked segment that waits for `let_through` or `reset`."""
        self.answers_probes = True
        """Whether keepalive probes without data are answered as they come; if not, `answer_probe` does it."""
        self.abandoned = False
        """Whether nothing that arrives will ever be read."""
        self.reset_sent = False
        """Whether a marked segment was answered with RST; the connection waits for the guest's own."""
        self.broken = False
        """Whether the guest has reset the connection, or does not answer."""
        self.blackholed = False
        self._unacknowledged = 0  # segments with text
        self._challenges = 0
        self._challenged_s = -NEVER

    # The handshake

    def hear_syn(self, syn: Segment) -> None:
        """Take what the guest's SYN, or SYN,ACK, says; data in it are kept until the connection is established."""
        mss = max(_LEAST_MSS, min(syn.mss or _DEFAULT_MSS, self.stack.mss))
        self.sender.take_mss(mss)
        self.sender.update_window(syn.seq, 0, syn.window)
        self.receiver.start(syn.seq + 1, mss)
        self.receiver.take(syn.seq + 1, syn.payload)
        self.syn = Segment(syn.seq, syn.ack, syn.flags, syn.window, b"", syn.tos)

    def send_syn(self, now_s: float) -> None:
        """Send our SYN, with an ACK if the guest's is known; also once more."""
        sender = self.sender
        segment = Segment(sender.una & MASK, 0, SYN, self.receiver.offer())
        if self.state is not State.SYN_SENT:
            segment.ack, segment.flags = self.syn.seq + 1 & MASK, SYN | ACK  # data in the SYN come later
        if self.stack.syn_ack_options == "mss":
            segment.mss = self.stack.mss
        if not sender.in_flight:
            sender.advance(1, now_s)
        self.output.append(segment)
        self.due_s = now_s + sender.rto.value_s

    def establish(self) -> None:
        """Both SYNs are acknowledged."""
        if self.sender.tries:
            self.sender.rto.recover_from_lost_syn()
        self.state = State.FIN_WAIT_1 if self.sender.finishing else State.ESTABLISHED
        self.seen |= Seen.ESTABLISHED
        if self.receiver.unread:
            self.seen |= Seen.READABLE
            self.ack_wanted = True

    # The end

    def send_fin(self, now_s: float) -> None:
        """Send our FIN after all that is queued; during the handshake it is queued, too."""
        if self.sender.finishing or self.state is State.CLOSED:
            return
        self.sender.finishing = True
        if self.state not in _WITHOUT_DATA:
            self.state = State.LAST_ACK if self.state is State.CLOSE_WAIT else State.FIN_WAIT_1
            self.transmit(now_s)

    def on_fin(self, now_s: float) -> None:
        """The guest's FIN has arrived, and everything before it."""
        self.seen |= Seen.FIN
        if self.state is State.ESTABLISHED:
            self.state = State.CLOSE_WAIT
        elif self.state is State.FIN_WAIT_1:
            self.state = State.CLOSING
        else:  # FIN_WAIT_2
            self._enter_time_wait(now_s)

    def on_fin_acknowledged(self, now_s: float) -> None:
        """The guest has acknowledged our FIN."""
        if self.state is State.FIN_WAIT_1:
            self.state = State.FIN_WAIT_2
            if self.abandoned:
                self.wait(self.stack.fin_wait_2_s, now_s)
        elif self.state is State.CLOSING:
            self._enter_time_wait(now_s)
        else:  # LAST_ACK
            self.end()

    def end_after_reset(self, now_s: float) -> None:
        """Nothing is in flight after the answer to a marked segment, so the guest has nothing to reset."""
        if self.stack.after_reset == "close":
            self.end()
        else:
            self.wait(self.stack.fin_wait_2_s, now_s)

    def break_off(self, how: int) -> None:
        """The guest has reset the connection, or does not answer."""
        self.broken = True
        self.seen |= how
        self.end()

    def end(self) -> None:
        """Close the connection; nothing is sent."""
        self.state = State.CLOSED
        self.seen |= Seen.CLOSED
        self.due_s = self.ack_due_s = NEVER
        self.keepalive.stop()
        self.ack_wanted = False
        self.withheld = None

    def wait(self, delay_s: float, now_s: float) -> None:
        """End in `delay_s`; 0 is never."""
        self.due_s = now_s + delay_s if delay_s else NEVER

    def _enter_time_wait(self, now_s: float) -> None:
        self.state = State.TIME_WAIT
        self.due_s = now_s + self.stack.time_wait_s

    # Output

    def transmit(self, now_s: float) -> None:
        """Send what the window allows; while anything is in flight, or waits for the window, a timer runs."""
        if self.state in _WITHOUT_DATA:
            return
        sender = self.sender
        was_in_flight = sender.in_flight
        while (cut := sender.cut(now_s)) is not None:
            self.emit_cut(cut)
        if sender.in_flight > was_in_flight or (sender.waiting and self.due_s == NEVER):
            self.due_s = now_s + sender.rto.value_s

    def acknowledge_text(self, size: int, now_s: float) -> None:
        """Acknowledge `size` bytes that arrived in order: now, in company, or in a while."""
        self._unacknowledged += 1
        if self._unacknowledged > 1 or size > self.sender.mss:
            self.ack_wanted = True
        else:
            self.ack_due_s = now_s + self.stack.delayed_ack_s

    def emit_cut(self, cut: Cut) -> None:
        """Emit a piece of our stream."""
        start, payload, fin = cut
        flags = ACK | FIN if fin else ACK
        if payload and start + len(payload) == self.sender.queue.end:
            flags |= PSH  # MUST-60, MUST-61: the last of what there is
        receiver = self.receiver
        self._emit(Segment(start & MASK, receiver.next & MASK, flags, receiver.offer(), payload))

    def emit_ack(self) -> None:
        """Emit an acknowledgement."""
        receiver = self.receiver
        self._emit(Segment(self.sender.nxt & MASK, receiver.next & MASK, ACK, receiver.offer()))

    def emit_probe(self) -> None:
        """Emit a keepalive probe: one before what comes next, so that the guest must answer (RFC 9293 3.8.4)."""
        receiver = self.receiver
        self.output.append(Segment(self.sender.nxt - 1 & MASK, receiver.next & MASK, ACK, receiver.offer()))

    def emit_reset(self, seq: int) -> None:
        """Emit a bare RST."""
        self.output.append(Segment(seq, 0, RST, self.receiver.offer()))

    def challenge(self, now_s: float) -> None:
        """Emit an acknowledgement that makes the guest send its segment anew; limited to a few in a while."""
        if now_s - self._challenged_s >= _CHALLENGED_S:
            self._challenged_s, self._challenges = now_s, 0
        self._challenges += 1
        if self._challenges <= _CHALLENGES:
            self.emit_ack()

    def _emit(self, segment: Segment) -> None:
        self.ack_wanted = False
        self.ack_due_s = NEVER
        self._unacknowledged = 0
        self.output.append(segment)
