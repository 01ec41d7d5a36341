"""SEGMENT ARRIVES: what is done with a segment, in the order of RFC 9293 section 3.10.7.

    first sequence, second RST, third precedence, fourth SYN, fifth ACK, seventh text, eighth FIN

Precedence was RFC 793's third check, before SYN, ACK and text; it is made where a mask says so. The sixth, URG, has
nothing to do: urgent data stay in line.
"""

from __future__ import annotations

from relay.wire.seen import Seen, State
from relay.wire.segment import ACK, FIN, RST, SYN, Segment
from relay.wire.sequence import MASK, acceptable, position
from relay.wire.tcb import NEVER, ROOM_BYTES, Tcb


def arrive(tcb: Tcb, segment: Segment, now_s: float) -> None:
    """Take in a segment of the guest's; a payload is copied if it is kept."""
    state = tcb.state
    if state is State.CLOSED:
        return
    if state is State.PENDING:
        _arrive_pending(tcb, segment)
        return
    if state is State.SYN_SENT:
        _arrive_in_syn_sent(tcb, segment, now_s)
        return
    receiver, flags = tcb.receiver, segment.flags
    seq = position(segment.seq, receiver.next)
    if flags & SYN:
        if _arrive_syn_again(tcb, segment, seq, now_s):
            return
        if state is State.SYN_RECEIVED and flags & ACK and seq == receiver.next - 1:
            seq += 1  # a simultaneous open: what counts is the ACK beside the SYN that is known
            flags &= ~SYN

    # First: a part of the segment must be in the window.
    size = len(segment.payload)
    length = size + (flags >> 1 & 1) + (flags & FIN)
    if not acceptable(seq, length, receiver.next, receiver.right):
        if seq != receiver.next or receiver.right > seq:
            _arrive_outside(tcb, segment, seq, length, now_s)
            return
        tcb.ack_wanted = True  # MUST-66: a window without room lets ACKs and RSTs pass; of text nothing is taken

    # Second: RST, exactly where it is expected (RFC 5961 section 3).
    if flags & RST:
        if seq == receiver.next or tcb.stack.rst == "window":
            tcb.break_off(0 if state is State.TIME_WAIT else Seen.RST)
        else:
            tcb.challenge(now_s)
        return

    # Third: a precedence that is not the SYN's.
    if tcb.tos_mask and (segment.tos ^ tcb.syn.tos) & tcb.tos_mask:
        _arrive_marked(tcb, segment)
        return

    # Fourth: SYN has no place here (RFC 5961 section 4).
    if flags & SYN:
        tcb.challenge(now_s)
        return

    # Fifth: ACK.
    if not flags & ACK or not _arrive_ack(tcb, segment, seq, length, now_s):
        return

    # Seventh and eighth: text and FIN.
    if size or flags & FIN:
        _arrive_text(tcb, segment, seq, size, flags, now_s)


def _arrive_pending(tcb: Tcb, segment: Segment) -> None:
    flags, expected = segment.flags, tcb.receiver.next
    if flags & RST:
        if position(segment.seq, expected) == expected:
            tcb.break_off(Seen.RST)
    elif flags & SYN and not flags & ACK and segment.seq != tcb.syn.seq:
        tcb.hear_syn(segment)  # the guest has given up the first one, and begun again from the same port


def _arrive_in_syn_sent(tcb: Tcb, segment: Segment, now_s: float) -> None:
    """RFC 9293 section 3.10.7.3."""
    flags, sender = segment.flags, tcb.sender
    ack = position(segment.ack, sender.nxt)
    if flags & ACK and ack != sender.nxt:
        if not flags & RST:
            tcb.emit_reset(segment.ack)
    elif flags & RST:
        if flags & ACK:
            tcb.break_off(Seen.RST)
    elif flags & SYN:
        tcb.hear_syn(segment)
        if flags & ACK:
            sender.acknowledge(ack, now_s)
            tcb.due_s = NEVER
            tcb.establish()
            tcb.ack_wanted = True
            tcb.transmit(now_s)
        else:  # MUST-10: a simultaneous open
            tcb.state = State.SYN_RECEIVED
            tcb.send_syn(now_s)


def _arrive_syn_again(tcb: Tcb, segment: Segment, seq: int, now_s: float) -> bool:
    """A SYN on a connection: its own once more, or one that reuses the ports of an old one (MAY-2)."""
    if segment.flags & (ACK | RST):
        return False
    if tcb.state is State.SYN_RECEIVED and segment.seq == tcb.syn.seq:
        tcb.send_syn(now_s)
        return True
    if tcb.state is State.TIME_WAIT and seq >= tcb.receiver.next:
        tcb.end()
        tcb.seen |= Seen.REUSED
        return True
    return False


def _arrive_outside(tcb: Tcb, segment: Segment, seq: int, length: int, now_s: float) -> None:
    """Nothing of the segment is in the window: say what is expected, unless it was a RST."""
    flags, receiver = segment.flags, tcb.receiver
    if flags & RST:
        return
    if length <= 1 and seq == receiver.next - 1 and flags & (SYN | FIN | ACK) == ACK:
        # A keepalive probe; or a window probe as Linux makes it, if there was no room.
        if receiver.right > receiver.next:
            tcb.seen |= Seen.PROBE
            if not tcb.answers_probes and not length:  # an octet may be one of the stream's, whose ACK was lost
                tcb.seen |= Seen.PROBE_WAITS
                return
        tcb.emit_ack()
    elif length:
        if tcb.state is State.TIME_WAIT and flags & FIN:
            tcb.wait(tcb.stack.time_wait_s, now_s)
        tcb.emit_ack()
    else:
        tcb.challenge(now_s)


def _arrive_marked(tcb: Tcb, segment: Segment) -> None:
    if tcb.reset_sent:
        tcb.emit_reset(segment.ack)
    elif tcb.withheld is None:
        segment.payload = bytes(segment.payload)
        tcb.withheld = segment
        tcb.seen |= Seen.TOS


def _arrive_ack(tcb: Tcb, segment: Segment, seq: int, length: int, now_s: float) -> bool:
    """The fifth check; returns whether the rest of the segment is to be processed."""
    sender = tcb.sender
    ack = position(segment.ack, sender.una)
    if tcb.state is State.SYN_RECEIVED:
        if not sender.una < ack <= sender.high:
            tcb.emit_reset(segment.ack)
            return False
        tcb.establish()
    if not sender.una - sender.largest_window <= ack <= sender.high:  # RFC 5961 section 5
        tcb.challenge(now_s)
        return False
    if ack > sender.una:
        had_room = len(sender.queue) < ROOM_BYTES
        again = sender.acknowledge(ack, now_s)
        tcb.due_s = now_s + sender.rto.value_s if sender.in_flight else NEVER
        sender.update_window(seq, ack, segment.window)
        if again:
            tcb.emit_cut(sender.retransmit())
        if not had_room and len(sender.queue) < ROOM_BYTES:
            tcb.seen |= Seen.ROOM
        if sender.fin_acknowledged:
            tcb.on_fin_acknowledged(now_s)
        if tcb.reset_sent and not sender.in_flight:
            tcb.end_after_reset(now_s)
    elif ack == sender.una:
        window = sender.window
        sender.update_window(seq, ack, segment.window)
        if not sender.window:
            sender.tries = 0  # MUST-37: a window without room that is confirmed is no silence
        if sender.in_flight and not length and window == sender.window and sender.duplicate():
            tcb.emit_cut(sender.retransmit())
    if sender.waiting:
        tcb.transmit(now_s)
    return tcb.state is not State.CLOSED


def _arrive_text(tcb: Tcb, segment: Segment, seq: int, size: int, flags: int, now_s: float) -> None:
    receiver = tcb.receiver
    expected, had_gaps = receiver.next, receiver.has_gaps
    if size:
        if tcb.abandoned and seq + size > expected:  # SHLD-3: it would be lost in silence
            tcb.emit_reset(tcb.sender.nxt & MASK)
            tcb.end()
            return
        receiver.take(seq, segment.payload)
    if flags & FIN:
        receiver.take_fin(seq + size)
    if tcb.acknowledges_each or receiver.next == expected or receiver.has_gaps:
        tcb.emit_ack()  # SHLD-31: where there is a gap, at once, and each time
    elif receiver.finished or had_gaps or seq < expected:
        tcb.ack_wanted = True
    else:
        tcb.acknowledge_text(receiver.next - expected, now_s)
    if receiver.unread:
        tcb.seen |= Seen.READABLE
    if receiver.finished and expected != receiver.next:
        tcb.on_fin(now_s)
