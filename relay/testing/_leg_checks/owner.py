"""What a leg tells its owner and its witness, and when."""

from __future__ import annotations

from relay.abilities import KINDS
from relay.testing._leg_checks.ends import MUCH, SOME, Check, Ends, Owner


async def each_end_knows_both_addresses(ends: Ends) -> None:
    assert ends.leg.local is not None
    assert ends.leg.peer is not None
    assert (ends.leg.local, ends.leg.peer) == (ends.peer.peer, ends.peer.local)


async def a_leg_that_sees_what_is_not_there_says_nothing(ends: Ends) -> None:
    for wants in (KINDS, (), KINDS):
        ends.leg.watch(wants, ends.owner)
    ends.peer.write(SOME)
    assert await ends.receive(ends.leg) == SOME
    ends.leg.unwatch()
    ends.leg.unwatch()
    assert not ends.owner.seen


async def a_new_owner_has_the_next_call(ends: Ends) -> None:
    new_owner = Owner()
    ends.leg.owner = new_owner
    calls = ends.owner.calls
    ends.peer.write(SOME)
    await ends.until(lambda: new_owner.calls, "the new owner is called")
    assert ends.owner.calls == calls


async def no_call_of_the_owners_calls_it_back(ends: Ends) -> None:
    ends.peer.write(SOME)
    await ends.until(lambda: ends.leg.unread_bytes() == len(SOME), "the bytes have arrived")
    ends.owner.inside = True
    ends.leg.write(MUCH)
    ends.leg.flush()
    ends.leg.receive_into(memoryview(bytearray(4)))
    ends.leg.freeze()
    ends.leg.finish()
    ends.leg.reset()
    assert not ends.owner.called_inside


OWNER_CHECKS: tuple[Check, ...] = (
    each_end_knows_both_addresses,
    a_leg_that_sees_what_is_not_there_says_nothing,
    a_new_owner_has_the_next_call,
    no_call_of_the_owners_calls_it_back,
)
