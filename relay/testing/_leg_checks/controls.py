"""Freezing, dropping what comes, the window and keepalive probes."""

from __future__ import annotations

from relay.legs import BROKEN, WOULD_BLOCK
from relay.testing._leg_checks.ends import MUCH, SOME, STEP_S, Check, Ends


async def a_frozen_leg_neither_writes_nor_loses_what_arrives(ends: Ends) -> None:
    ends.leg.freeze()
    ends.leg.write(SOME)
    ends.leg.finish()
    ends.peer.write(b"meanwhile")
    for _ in range(20):
        await ends.wait(STEP_S)
    assert ends.peer.unread_bytes() == 0
    assert not ends.leg.has_room
    calls = ends.owner.calls
    ends.leg.thaw()
    assert ends.owner.calls > calls, "thaw calls the owner"
    assert await ends.receive_all(ends.peer) == (SOME, 0)
    assert await ends.receive(ends.leg) == b"meanwhile"


async def a_blackholed_peer_is_not_heard_until_it_is_heard_again(ends: Ends) -> None:
    if not ends.leg.blackhole(True):
        return  # this host cannot, and the leg says so
    ends.peer.write(SOME)
    ends.peer.finish()
    for _ in range(20):
        await ends.wait(STEP_S)
    assert ends.leg.unread_bytes() == 0
    assert ends.peer.unacked_bytes() == len(SOME)
    assert ends.leg.blackhole(False)
    assert await ends.receive_all(ends.leg) == (SOME, 0)


async def a_forgotten_peer_is_reset_for_the_next_thing_it_sends(ends: Ends) -> None:
    if not ends.leg.forget():
        return  # this host cannot, and the leg says so
    assert ends.leg.closed
    for _ in range(20):
        await ends.wait(STEP_S)
    assert ends.peer.receive_into(memoryview(bytearray(1))) == WOULD_BLOCK, "nothing is sent"
    ends.peer.write(SOME)
    assert await ends.receive(ends.peer) == BROKEN
    assert not ends.peer.timed_out


async def a_limited_window_acknowledges_about_as_much(ends: Ends) -> None:
    ends.leg.limit_window(20_000)
    ends.peer.write(MUCH)
    await ends.until(lambda: ends.leg.unread_bytes() > 5_000, "the peer's bytes arrive")
    for _ in range(20):
        await ends.wait(STEP_S)
    assert ends.leg.unread_bytes() < 200_000, "kernels round up, but not by that much"
    assert ends.peer.unacked_bytes() > 0


async def keepalive_finds_a_silent_peer_dead_and_leaves_a_living_one(ends: Ends) -> None:
    ends.leg.set_keepalive(1, 1, 2)
    await ends.wait(3.5)
    assert not ends.leg.find_broken(), "a peer that answers its probes is alive"
    if ends.peer.blackhole(True):
        await ends.until(ends.leg.find_broken, "the leg has timed out")
        assert ends.leg.timed_out


async def a_peer_that_is_there_answers_a_probe_and_no_other_does(ends: Ends) -> None:
    answers: list[str] = []
    await ends.wait(1.2)  # a kernel asks no peer that it has just heard
    if not ends.leg.probe(lambda: answers.append("once")):
        return  # this host does not see answers, and the leg says so
    assert not answers, "the call is made later"
    await ends.until(lambda: bool(answers), "the peer has answered")
    if ends.peer.blackhole(True):
        await ends.wait(1.2)
        ends.leg.probe(lambda: answers.append("from the dead"))
        await ends.wait(1.5)
    assert answers == ["once"]
    assert not ends.leg.find_broken(), "one probe is no verdict"


CONTROL_CHECKS: tuple[Check, ...] = (
    a_frozen_leg_neither_writes_nor_loses_what_arrives,
    a_blackholed_peer_is_not_heard_until_it_is_heard_again,
    a_forgotten_peer_is_reset_for_the_next_thing_it_sends,
    a_limited_window_acknowledges_about_as_much,
    keepalive_finds_a_silent_peer_dead_and_leaves_a_living_one,
    a_peer_that_is_there_answers_a_probe_and_no_other_does,
)
