"""A leg in front of another leaves everything but sending and ending to the one behind it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from relay.legs import Leg
from relay.legs.in_front import LegInFront, last_leg
from relay.testing import MemoryLoop, memory_pair

_CALLS: dict[str, tuple[object, ...]] = {
    "receive_into": (memoryview(bytearray(1)),),
    "find_broken": (),
    "waiting_bytes": (),
    "unread_bytes": (),
    "watch": ((), object()),
    "unwatch": (),
    "glimpse_process": (),
    "find_process": (),
    "look_at_peer": (),
    "freeze": (),
    "thaw": (),
    "blackhole": (True,),
    "set_keepalive": (1, 2, 3),
    "probe": (print,),
    "answer_probe": (),
    "limit_window": (7,),
}
_SAY_NOTHING = frozenset({"watch", "unwatch", "freeze", "thaw", "set_keepalive", "answer_probe", "limit_window"})


class Behind:
    """Takes note of what it is asked, and answers each question in its own way."""

    side = frozen = timed_out = loop = local = peer = broken = None

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[object, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        def asked(*arguments: object) -> str:
            self.asked.append((name, arguments))
            return f"what {name} says"

        return asked


@pytest.mark.parametrize("name", _CALLS)
def test_a_call_goes_to_the_leg_behind_as_it_is_and_so_does_its_answer_come_back(name: str) -> None:
    behind = Behind()
    front = LegInFront(cast("Leg", behind))
    answer = getattr(front, name)(*_CALLS[name])
    assert behind.asked == [(name, _CALLS[name])]
    assert answer == (None if name in _SAY_NOTHING else f"what {name} says")


@pytest.mark.parametrize("name", ["side", "frozen", "timed_out", "loop", "local", "peer", "broken"])
def test_what_it_is_the_leg_behind_is(name: str) -> None:
    behind = Behind()
    setattr(behind, name, value := object())
    assert getattr(LegInFront(cast("Leg", behind)), name) is value


def test_a_connection_that_has_broken_has_broken_behind_it() -> None:
    _, leg = memory_pair(MemoryLoop())
    front = LegInFront(leg)
    front.broken = 104
    assert leg.broken == 104
    assert (last_leg(cast("Leg", front)), last_leg(leg)) == (leg, leg)
