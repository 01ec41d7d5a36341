"""Behaviours that ask for what a test tells them to, and the events that most flows begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.actions import Action, Dial, Grant
from relay.address import Endpoint
from relay.behaviours import Actions, Behaviour
from relay.behaviours.close_mapping import CloseMapping
from relay.behaviours.link_down_reset import LinkDownReset
from relay.behaviours.local_ack import LocalAck
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.behaviours.tos_reset import TosReset
from relay.events import ConnectRequested, DialFailure, DialSucceeded, Event, FailureKind, Side, TosChanged
from relay.machine import FlowMachine

INTERNAL, EXTERNAL = Side
REFUSED = DialFailure(FailureKind.REFUSED)
ASKED = ConnectRequested(0.0, Endpoint("192.0.2.1", 22), INTERNAL)
CONNECTED = DialSucceeded(0.2)
MARKED = TosChanged(1.0, INTERNAL, syn=0, old=0, new=0x48)


def lockstep() -> list[Behaviour]:
    return [PrecompleteHandshake(order="lockstep"), CloseMapping()]


def vmware() -> list[Behaviour]:
    return [PrecompleteHandshake(), CloseMapping(internal_rst="fin"), LocalAck(), TosReset(), LinkDownReset()]


@dataclass
class Request(Behaviour):
    """Asks for the first of the given answers at the first event, and so on."""

    answers: Sequence[Sequence[Action]] = ()
    seen: list[Event] = field(default_factory=list)

    def _answer(self, event: Event) -> Actions:
        self.seen.append(event)
        return self.answers[len(self.seen) - 1] if len(self.seen) <= len(self.answers) else ()

    on_connect_requested = on_dial_succeeded = on_dial_failed = on_initiator_vanished = _answer
    on_slot_taken = on_slot_denied = on_initiator_sent = _answer
    on_tos_changed = on_fin_received = on_rst_received = on_leg_timed_out = on_timer_fired = on_link_went_down = _answer


@dataclass
class RequestMore(Request):
    """The same, by another name."""


def requesting(*answers: Sequence[Action]) -> FlowMachine:
    return FlowMachine([Request(answers)])


def connected(*answers: Sequence[Action]) -> FlowMachine:
    """A machine with both sides up, whose only behaviour will answer so from now on."""
    machine = requesting([Dial()], [Grant()], *answers)
    assert [step.action for step in machine.handle(ASKED) + machine.handle(CONNECTED)] == [Dial(), Grant()]
    return machine
