"""Carries out the actions that behaviours ask for: the table here has one entry for every kind of action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from relay.actions import (
    AbandonDial,
    Action,
    AnswerProbe,
    Blackhole,
    Close,
    CountRequests,
    DelayDial,
    Dial,
    Forget,
    GiveSlot,
    Grant,
    Ignore,
    LimitWindow,
    Note,
    Probe,
    Refuse,
    ReportLoss,
    SendFin,
    SendRst,
    SetKeepalive,
    SetShape,
    StartTimer,
    TakeSlot,
    WatchIdle,
)
from relay.driver.dialling import Dialling
from relay.driver.idleness import watch_idle
from relay.driver.requests import count_requests
from relay.driver.shaping import set_shape
from relay.errors import RelayBug
from relay.events import Side, TimerFired

if TYPE_CHECKING:
    from relay.driver.flow import Flow

Performer: TypeAlias = Callable[["Flow", Any, str], None]
"""Carries out one kind of action for a flow; the last argument is the behaviour that asked for it."""


class _Performers(dict[type[Action], Performer]):
    def __missing__(self, kind: type[Action]) -> Performer:
        raise RelayBug(f"{kind.__name__} is carried out nowhere")


def _dial(flow: Flow, action: Dial, because: str) -> None:
    flow.dialling.dial()


def _delay_dial(flow: Flow, action: DelayDial, because: str) -> None:
    flow.log.write("dial-delayed", by_s=action.by_s, because=because)
    flow.dialling.delay(action.by_s)


def _ignore(flow: Flow, action: Ignore, because: str) -> None:
    flow.pending.ignore(once=action.once)
    flow.legs.ignore(flow.initiator_leg, action.at_most_s, because)


def _abandon_dial(flow: Flow, action: AbandonDial, because: str) -> None:
    flow.log.write("dial-abandoned", because=because)
    flow.dialling.abandon()


def _grant(flow: Flow, action: Grant, because: str) -> None:
    if flow.log.wanted:
        flow.log.granted_s = flow.now_s()
    far = flow.legs.get(flow.initiator.other) if flow.forward is None else None  # a forward tells no address
    flow.pending.grant(far.local if far is not None else None)


def _refuse(flow: Flow, action: Refuse, because: str) -> None:
    flow.pending.refuse(action.failure)


def _send_fin(flow: Flow, action: SendFin, because: str) -> None:
    if flow.log.wanted:
        flow.log.write("fin-sent", side=action.side.value, because=because)
    flow.legs[action.side].finish()


def _send_rst(flow: Flow, action: SendRst, because: str) -> None:
    leg = flow.legs.get(action.side)
    if leg is None:
        return  # the engine could not watch its socket, and has closed it
    if action.side is Side.INTERNAL:
        leg.unwatch()
    flow.legs.reset(leg, because, after_data=action.after_data)


def _blackhole(flow: Flow, action: Blackhole, because: str) -> None:
    flow.legs.blackhole(flow.legs[action.side], action.at_most_s, because)


def _forget(flow: Flow, action: Forget, because: str) -> None:
    flow.legs.forget(flow.legs[action.side], action.then, action.at_most_s, because)


def _close(flow: Flow, action: Close, because: str) -> None:
    leg = flow.legs[action.side]
    if isinstance(flow.phase, Dialling) and flow.phase.has_early_data:
        flow.legs.reset(leg, because, after_data=False)
    else:
        flow.legs.close(leg, because)


def _set_keepalive(flow: Flow, action: SetKeepalive, because: str) -> None:
    flow.legs.set_keepalive(action)
    flow.await_death(action.side)


def _probe(flow: Flow, action: Probe, because: str) -> None:
    flow.log.write("probe-sent", side=action.side.value, because=because)
    flow.legs.probe(action, partial(flow.on_probe_answered, action.side))


def _answer_probe(flow: Flow, action: AnswerProbe, because: str) -> None:
    flow.legs[action.side].answer_probe()


def _limit_window(flow: Flow, action: LimitWindow, because: str) -> None:
    flow.legs[action.side].limit_window(action.size_bytes)


def _set_shape(flow: Flow, action: SetShape, because: str) -> None:
    set_shape(flow, action.side, action.shape, because)


def _report_loss(flow: Flow, action: ReportLoss, because: str) -> None:
    flow.log.lost_bytes += action.count_bytes
    flow.log.write("bytes-lost", bytes=action.count_bytes, because=because)


def _start_timer(flow: Flow, action: StartTimer, because: str) -> None:
    name = f"{because}/{action.key}"
    flow.start_nat_timer(name, action.after_s, lambda: flow.take(TimerFired(flow.now_s(), name)))


def _watch_idle(flow: Flow, action: WatchIdle, because: str) -> None:
    watch_idle(flow, f"{because}/{action.key}", action)


def _count_requests(flow: Flow, action: CountRequests, because: str) -> None:
    count_requests(flow)


def _take_slot(flow: Flow, action: TakeSlot, because: str) -> None:
    flow.driver.slots.take(flow, because, action)


def _give_slot(flow: Flow, action: GiveSlot, because: str) -> None:
    flow.driver.slots.give(flow, because, action)


def _note(flow: Flow, action: Note, because: str) -> None:
    flow.log.write("note", text=action.text, because=because)


PERFORMERS: Mapping[type[Action], Performer] = _Performers(
    {
        Dial: _dial,
        DelayDial: _delay_dial,
        Ignore: _ignore,
        AbandonDial: _abandon_dial,
        Grant: _grant,
        Refuse: _refuse,
        SendFin: _send_fin,
        SendRst: _send_rst,
        Blackhole: _blackhole,
        Forget: _forget,
        Close: _close,
        SetKeepalive: _set_keepalive,
        Probe: _probe,
        AnswerProbe: _answer_probe,
        LimitWindow: _limit_window,
        SetShape: _set_shape,
        ReportLoss: _report_loss,
        StartTimer: _start_timer,
        WatchIdle: _watch_idle,
        CountRequests: _count_requests,
        TakeSlot: _take_slot,
        GiveSlot: _give_slot,
        Note: _note,
    }
)
"""What carries out each kind of action, once the machine has found it possible."""
