"""The flow machine with the behaviours that are shipped: events in any order, and what must hold whatever comes.

A script has two lines. The first sets the flow up: a byte for the profile, one for who opens, then pairs of a setting
and a value for it. The second is events, a letter each (`EVENTS`; any other byte counts as one of them).

`flow` plays the driver, and leaves out what a driver could not produce; then everybody lets go, and the flow must end.
`flow_wild` takes the events as they come, and has behaviours that ask for anything join in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fuzz.targets._api import target
from relay.actions import (
    AbandonDial,
    Action,
    AnswerProbe,
    Blackhole,
    Dial,
    Grant,
    LimitWindow,
    Note,
    Probe,
    Refuse,
    ReportLoss,
    SendFin,
    SendRst,
    SetKeepalive,
    StartTimer,
    TakeSlot,
)
from relay.address import Endpoint
from relay.behaviours import Actions, Behaviour
from relay.behaviours._api import HANDLERS
from relay.events import (
    ConnectRequested,
    DialFailed,
    DialFailure,
    DialSucceeded,
    Event,
    FailureKind,
    FinReceived,
    InitiatorSent,
    InitiatorVanished,
    LegTimedOut,
    LinkWentDown,
    ProbeArrived,
    RstReceived,
    Side,
    SlotDenied,
    SlotTaken,
    TimerFired,
    TosChanged,
)
from relay.machine import FlowMachine, Step
from relay.profiles import Profile, load_profile
from relay.settings import settings_of
from support.flow_model import FlowModel

_IN, _OUT = Side
_SYN_TOS = 0x48
_FAILURE = DialFailure(FailureKind.REFUSED)

EVENTS: dict[str, Callable[[float, Side], Event]] = {
    "Q": lambda at_s, initiator: ConnectRequested(at_s, Endpoint("192.0.2.1", 22), initiator),
    "S": lambda at_s, initiator: DialSucceeded(at_s),
    "D": lambda at_s, initiator: DialFailed(at_s, _FAILURE),
    "V": lambda at_s, initiator: InitiatorVanished(at_s),
    "i": lambda at_s, initiator: InitiatorSent(at_s),
    "f": lambda at_s, initiator: FinReceived(at_s, _IN),
    "F": lambda at_s, initiator: FinReceived(at_s, _OUT),
    "r": lambda at_s, initiator: RstReceived(at_s, _IN, 7),
    "R": lambda at_s, initiator: RstReceived(at_s, _OUT),
    "U": lambda at_s, initiator: RstReceived(at_s, _OUT, 7),
    "t": lambda at_s, initiator: LegTimedOut(at_s, _IN),
    "T": lambda at_s, initiator: LegTimedOut(at_s, _OUT, 7),
    "m": lambda at_s, initiator: TosChanged(at_s, _IN, _SYN_TOS, _SYN_TOS, 0x20),
    "n": lambda at_s, initiator: TosChanged(at_s, _IN, _SYN_TOS, _SYN_TOS, None),
    "o": lambda at_s, initiator: TosChanged(at_s, _IN, _SYN_TOS, _SYN_TOS, _SYN_TOS | 0x14),
    "M": lambda at_s, initiator: TosChanged(at_s, _OUT, _SYN_TOS, _SYN_TOS, 0x20),
    "p": lambda at_s, initiator: ProbeArrived(at_s, _IN),
    "P": lambda at_s, initiator: ProbeArrived(at_s, _OUT),
    "L": lambda at_s, initiator: LinkWentDown(at_s),
    "?": lambda at_s, initiator: TimerFired(at_s, "tos-resetter/external-close"),
}
"""By letter. There are also `.` and `,`, the timer that is due first and last, `X`, the relay's own end of it, and `#`,
from which on slots are denied."""

_LETTERS = [*EVENTS, ".", ",", "X", "#"]
_CONTROLLED_BY_DRIVER = frozenset("MP?")  # no provider watches the external side


@target(
    *(profile + initiator + b"\n" for profile in (b"0", b"1", b"2", b"3", b"4", b"5") for initiator in (b"i", b"e")),
    *(b"QS", b"QD", b"QV", b"QSm.F", b"QSfF", b"#QS"),
)
def fuzz_flow(data: bytes) -> str:
    """Only what the driver could produce, and after it the end that every flow must come to."""
    setup, _, letters = data.partition(b"\n")
    play = _Driven(_behaviours(setup), Side.EXTERNAL if setup[1:2] == b"e" else Side.INTERNAL)
    for letter in _decoded(letters):
        play.take(letter)
    play.let_go()
    machine = play.machine
    return f"{machine.cause}: " + ", ".join(
        f"{side.value} {end.how} {end.because}" for side, end in machine.endings.items()
    )


@target(*(bytes((kind,)) + b"i\n" for kind in range(5)), b"QS", b"QD", b"SFXSV", b"DQSRrr")
def fuzz_flow_wild(data: bytes) -> str:
    """Anything at any time; the fifth profile is behaviours that ask for anything, which the bytes tell as well."""
    setup, _, letters = data.partition(b"\n")
    requesting = (setup[0] if setup else 0) % 5 == 4
    behaviours: list[Behaviour] = [_requesting("One"), _requesting("Two")] if requesting else _behaviours(setup)
    requesters = {behaviour.name for behaviour in behaviours}
    initiator = Side.EXTERNAL if setup[1:2] == b"e" else Side.INTERNAL
    machine = FlowMachine(behaviours, initiator)
    model = FlowModel(machine)
    rest = iter(letters)
    for at_s, byte in enumerate(rest):
        letter = _LETTERS[byte % len(_LETTERS)] if chr(byte) not in _LETTERS else chr(byte)
        if letter == "X":
            requesters.add("shutdown")
            model.perform(machine.end("shutdown"), {"shutdown"})
            assert machine.over
        else:
            event = EVENTS[letter](at_s, initiator) if letter in EVENTS else TimerFired(at_s, _timer(requesters, rest))
            for behaviour in behaviours:
                if isinstance(behaviour, _Requesting):
                    behaviour.requests = [REQUESTS[next(rest, 0) % len(REQUESTS)] for _ in range(next(rest, 0) % 4)]
            model.see(event)
            steps = machine.handle(event)
            assert letter != "?" or not steps, "a timer without an owner does nothing"
            model.perform(steps, requesters)
        model.check(requesters)
    outcome = f"over by {machine.cause}" if machine.over else "not over"
    for behaviour in behaviours:
        if isinstance(behaviour, _Requesting):
            behaviour.requests = []

    def take(event: Event) -> None:
        model.see(event)
        model.perform(machine.handle(event), requesters)
        model.check(requesters)

    model.both_peers_leave(float(len(letters)), take)
    return outcome


def _timer(requesters: set[str], rest: Iterator[int]) -> str:
    names = sorted(requesters)
    return f"{names[next(rest, 0) % len(names)]}/t"


def _decoded(letters: bytes) -> Iterator[str]:
    for byte in letters:
        yield chr(byte) if chr(byte) in _LETTERS else _LETTERS[byte % len(_LETTERS)]


@cache
def _profiles() -> list[Profile]:
    """Those of whose behaviours `FlowModel` knows every wish; kept inputs name them by number."""
    vmware = ("vmware-fusion-11", "vmware-workstation-14", "vmware-workstation-16")
    names = ("transparent", *vmware, "podman-machine", "azure-nat-gateway")
    return [load_profile(name) for name in names]


def _behaviours(setup: bytes) -> list[Behaviour]:
    """The behaviours of the profile that the first byte picks, with the settings of the third byte and on."""
    profile = _profiles()[(setup[0] if setup else 0) % len(_profiles())]
    settings: dict[str, dict[str, Any]] = {quirk.name: dict(quirk.settings) for quirk in profile.quirks}
    places = [(quirk, key) for quirk in profile.quirks for key in settings_of(quirk.kind)]
    for which, value in zip(setup[2::2], setup[3::2], strict=False):
        quirk, key = places[which % len(places)]
        settings[quirk.name][key] = _value(settings_of(quirk.kind)[key].metadata, value)
    return [quirk.kind(**settings[quirk.name]) for quirk in profile.quirks]


def _value(limits: Any, byte: int) -> Any:
    if limits["choices"]:
        return limits["choices"][byte % len(limits["choices"])]
    if limits["low"] is None:
        return bool(byte % 2)
    low, high = int(limits["low"]), int(limits["high"])
    return (low, high, low + byte % (high - low + 1))[byte % 3]


class _Driven:
    """The driver's side of a flow: its phases, its timers, and which events can come in which."""

    def __init__(self, behaviours: list[Behaviour], initiator: Side) -> None:
        self.machine = FlowMachine(behaviours, initiator)
        self.model = FlowModel(self.machine)
        self.requesters = {behaviour.name for behaviour in behaviours}
        self.initiator = initiator
        self.at_s = 0.0
        self.asked = False
        self.dialled = False
        self.carrying = False
        self.finished = False
        self.watching = initiator is _IN
        self.timers: dict[str, float] = {}
        self.slots: list[str] = []
        self.full = False

    def take(self, letter: str) -> None:
        if self.finished or letter in _CONTROLLED_BY_DRIVER:
            return
        if letter == "X":
            self.requesters.add("shutdown")
            self.perform(None, self.machine.end("shutdown"), {"shutdown"})
            assert self.finished
        elif letter == "#":
            self.full = True
        elif letter in ".,":
            self.fire(first=letter == ".")
        elif self.can_come(letter):
            self.feed(EVENTS[letter](self.at_s, self.initiator))

    def can_come(self, letter: str) -> bool:
        machine, model = self.machine, self.model
        match letter:
            case "Q":
                return not self.asked
            case "S" | "D":
                return model.dialling
            case "i":
                return self.asked and not self.dialled and not machine.is_over(self.initiator)
            case "V":
                return self.asked and not self.carrying and not machine.is_over(self.initiator)
            case "f" | "F":
                side = _IN if letter == "f" else _OUT
                return self.carrying and not (model.fin_from(side) or model.killed(side))
            case "r" | "t" | "R" | "U" | "T":
                return self.carrying and not machine.is_over(_IN if letter in "rt" else _OUT)
            case "m" | "n" | "o" | "p":
                return self.watching
            case _:
                return True

    def feed(self, event: Event) -> None:
        self.asked = self.asked or isinstance(event, ConnectRequested)
        if isinstance(event, DialSucceeded) and self.initiator is _OUT:
            self.watching = True
        awaited = isinstance(event, DialSucceeded | DialFailed) and not self.machine.is_over(self.initiator)
        self.model.see(event)
        self.perform(event, self.machine.handle(event), self.requesters)
        assert self.model.answers == 1 or not awaited, "an initiator that waited for the dial is answered, once"
        self.carrying = self.carrying or isinstance(event, DialSucceeded)
        while self.slots and not self.finished:
            kind = SlotDenied if self.full else SlotTaken
            self.feed(kind(self.at_s, self.slots.pop(0)))
        assert self.finished or not self.asked or self.has_a_future(), "a flow that nothing can end"

    def perform(self, event: Event | None, steps: list[Step], requesters: set[str]) -> None:
        self.model.perform(steps, requesters)
        self.model.check(self.requesters)
        self.dialled = self.dialled or self.model.dialling
        for action, because in steps:
            self.check_values(action, event)
            match action:
                case StartTimer(key=key, after_s=after_s):
                    self.timers[f"{because}/{key}"] = self.at_s + after_s
                case SendRst(side=side) if side is _IN:
                    self.watching = False
                case TakeSlot(pool=pool, wait=wait):
                    self.full = self.full and not wait
                    self.slots.append(f"{because}/{pool}")
        if self.machine.over:
            self.finished = True
            assert set(self.machine.endings) == self.model.up, "every side that was there has its ending"

    @staticmethod
    def check_values(action: Action, event: Event | None) -> None:
        match action:
            case StartTimer(key=key, after_s=after_s):
                assert key
                assert after_s >= 0
                assert math.isfinite(after_s)
            case SetKeepalive(idle_s=idle_s, interval_s=interval_s, count=count):
                assert min(idle_s, interval_s, count) >= 1
                assert max(idle_s, interval_s) <= 32_767, "more is no TCP_KEEPIDLE"
                assert count <= 127
            case Probe(count=count):
                assert 1 <= count <= 127
            case LimitWindow(size_bytes=size_bytes):
                assert size_bytes > 0
            case Blackhole(at_most_s=at_most_s):
                assert at_most_s > 0
            case ReportLoss(count_bytes=count_bytes):
                assert count_bytes > 0
                assert count_bytes == getattr(event, "unacked_bytes", None)
            case Refuse(failure=failure):
                assert failure is _FAILURE or isinstance(event, SlotDenied)
            case Note(text=text):
                assert text.isprintable()
            case _:
                pass

    def has_a_future(self) -> bool:
        """Whether the flow is dialling or about to, has both its sides, or is about to have the last one ended."""
        machine = self.machine
        if self.model.dialling or not self.dialled:  # the initiator says something, or goes away
            return True
        left = [side for side in Side if not machine.is_over(side)]
        return len(left) == 2 or bool(self.timers) or not machine.can_send(left[0])

    def fire(self, *, first: bool) -> None:
        if self.timers:
            pick = min if first else max
            key = pick(self.timers, key=lambda name: self.timers[name])
            self.at_s = max(self.at_s, self.timers.pop(key))
            self.feed(TimerFired(self.at_s, key))

    def let_go(self) -> None:
        """Everybody does what they must: the request comes, the destination answers, timers run out, peers finish."""
        for letter in "QiS":
            self.take(letter)
        while self.timers and not self.finished:
            self.fire(first=True)
        for letter in "fF":
            self.take(letter)
        while self.timers and not self.finished:
            self.fire(first=True)
        assert self.finished, (self.machine.endings, self.model.up)


REQUESTS: tuple[Action, ...] = (
    Dial(),
    AbandonDial(),
    Grant(),
    Refuse(_FAILURE),
    Note("x"),
    StartTimer("t", 1.0),
    *(SendFin(side) for side in Side),
    *(SendRst(side) for side in Side),
    *(SendRst(side, after_data=True) for side in Side),
    *(Blackhole(side, 1.0) for side in Side),
    *(SetKeepalive(side, 1, 1, 1) for side in Side),
    *(Probe(side, 1) for side in Side),
    *(AnswerProbe(side) for side in Side),
    *(LimitWindow(side, 1) for side in Side),
)
"""One of everything that a behaviour can ask for."""


class _Requesting(Behaviour):
    """Answers the next event with what `requests` holds."""

    def __init__(self) -> None:
        self.requests: list[Action] = []

    def answer(self, event: Event) -> Actions:
        now, self.requests = self.requests, []
        return now


@cache
def _requesting_kind(name: str) -> Callable[[], _Requesting]:
    kind: Any = type(name, (_Requesting,), {handler: lambda self, event: self.answer(event) for handler in HANDLERS})
    made: Callable[[], _Requesting] = kind
    return made


def _requesting(name: str) -> _Requesting:
    return _requesting_kind(name)()
