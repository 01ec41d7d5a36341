"""FIN, RST and close, from either end, and where each is found."""

from __future__ import annotations

import errno

from relay.legs import BROKEN
from relay.testing._leg_checks.ends import MUCH, SOME, STEP_S, Check, Ends


async def a_fin_is_found_after_the_bytes_and_writing_goes_on(ends: Ends) -> None:
    ends.peer.write(SOME)
    ends.peer.finish()
    assert await ends.receive_all(ends.leg) == (SOME, 0)
    assert not ends.leg.closed
    ends.leg.write(b"answer")
    assert await ends.receive(ends.peer) == b"answer"


async def a_fin_is_sent_behind_what_was_written_and_reading_goes_on(ends: Ends) -> None:
    ends.leg.write(MUCH)
    ends.leg.finish()
    ends.leg.finish()
    assert await ends.receive_all(ends.peer) == (MUCH, 0)
    ends.peer.write(SOME)
    assert await ends.receive(ends.leg) == SOME
    assert not ends.leg.closed


async def to_finish_after_the_peers_fin_is_the_end_of_the_leg(ends: Ends) -> None:
    ends.peer.finish()
    assert await ends.receive(ends.leg) == 0
    ends.leg.write(SOME)
    ends.leg.finish()
    assert await ends.receive_all(ends.peer) == (SOME, 0)
    await ends.until(lambda: ends.leg.closed, "the leg is closed")


async def a_rst_is_found_after_the_bytes(ends: Ends) -> None:
    ends.peer.write(SOME)
    await ends.acknowledged(ends.peer)
    ends.peer.reset()
    assert ends.peer.closed
    assert await ends.receive_all(ends.leg) == (SOME, BROKEN)
    assert ends.leg.broken == errno.ECONNRESET
    assert not ends.leg.timed_out


async def a_write_that_meets_a_rst_leaves_the_bytes_before_it_to_be_read(ends: Ends) -> None:
    ends.peer.write(SOME)
    await ends.acknowledged(ends.peer)
    ends.peer.reset()

    def write_again() -> bool:
        ends.leg.write(b"lost")
        return bool(ends.leg.broken)

    await ends.until(write_again, "a write meets the RST")
    lost = ends.leg.unacked_bytes()
    ends.leg.write(b"12345")
    assert ends.leg.unacked_bytes() == lost + 5, "what is written to a broken leg was acknowledged by no end"
    assert await ends.receive_all(ends.leg) == (SOME, BROKEN)


async def a_rst_behind_a_fin_is_found_by_asking(ends: Ends) -> None:
    ends.peer.finish()
    assert await ends.receive(ends.leg) == 0
    assert not ends.leg.find_broken()
    ends.peer.reset()
    await ends.until(ends.leg.find_broken, "find_broken finds the RST")


async def a_reset_is_a_rst_that_overtakes_what_waits(ends: Ends) -> None:
    ends.leg.write(MUCH)
    ends.leg.reset()
    assert ends.leg.closed
    data, end = await ends.receive_all(ends.peer)
    assert end == BROKEN
    assert len(data) < len(MUCH)
    assert ends.peer.broken == errno.ECONNRESET


async def a_reset_after_data_comes_when_the_peer_has_everything(ends: Ends) -> None:
    ends.leg.write(MUCH)
    ends.leg.reset_after_data()
    ends.leg.reset_after_data()
    assert await ends.receive_all(ends.peer) == (MUCH, BROKEN)
    await ends.until(lambda: ends.leg.closed, "the leg is closed")
    ends.leg.reset_after_data()


async def to_close_with_bytes_unread_resets_the_peer(ends: Ends) -> None:
    ends.peer.write(SOME)
    await ends.until(lambda: ends.leg.unread_bytes() == len(SOME), "the bytes have arrived")
    ends.leg.close()
    assert await ends.receive_all(ends.peer) == (b"", BROKEN)


async def to_close_with_nothing_unread_is_a_fin(ends: Ends) -> None:
    ends.leg.write(SOME)
    ends.leg.close()
    assert await ends.receive_all(ends.peer) == (SOME, 0)


async def a_closed_leg_calls_nothing_and_allows_what_is_legal(ends: Ends) -> None:
    ends.leg.close()
    calls = ends.owner.calls
    ends.peer.write(SOME)
    for _ in range(3):
        await ends.wait(STEP_S)
    ends.leg.close()
    ends.leg.reset()
    ends.leg.finish()
    ends.leg.freeze()
    ends.leg.thaw()
    ends.leg.unwatch()
    assert ends.leg.unread_bytes() == 0
    assert ends.leg.unacked_bytes() >= 0
    assert ends.leg.closed
    assert not ends.leg.readable
    assert ends.owner.calls == calls


ENDING_CHECKS: tuple[Check, ...] = (
    a_fin_is_found_after_the_bytes_and_writing_goes_on,
    a_fin_is_sent_behind_what_was_written_and_reading_goes_on,
    to_finish_after_the_peers_fin_is_the_end_of_the_leg,
    a_rst_is_found_after_the_bytes,
    a_write_that_meets_a_rst_leaves_the_bytes_before_it_to_be_read,
    a_rst_behind_a_fin_is_found_by_asking,
    a_reset_is_a_rst_that_overtakes_what_waits,
    a_reset_after_data_comes_when_the_peer_has_everything,
    to_close_with_bytes_unread_resets_the_peer,
    to_close_with_nothing_unread_is_a_fin,
    a_closed_leg_calls_nothing_and_allows_what_is_legal,
)
