"""What each end does in a flow's story, from the connection to the end of its socket.

The side that outlives the other's act keeps its own FIN back until it has met the end: so what began the flow's
end is known.
"""

from __future__ import annotations

import asyncio

from bench.soak import http
from bench.soak.ends import End
from bench.soak.plans import WHOLE, Plan, Story
from relay.events import Side


async def act(plan: Plan, side: Side, end: End, port: int, external_thawed: asyncio.Lock) -> None:
    """Be one side of the flow."""
    if plan.actor is side and plan.story is not Story.TOS:
        await _say_up_to_the_cut(plan, side, end)
        if side is Side.EXTERNAL:
            async with external_thawed:
                end.reset()
        else:
            end.reset()
        return
    if plan.front_end != "http":
        await _speak(plan, side, end)
    elif side is Side.INTERNAL:
        await http.request(plan, end, port)
    else:
        await http.respond(plan, end)
    if plan.story not in WHOLE and plan.actor is not side:
        await end.receive()
    end.finish()
    await end.receive()
    end.close()


async def _speak(plan: Plan, side: Side, end: End) -> None:
    first_if_any = {Story.INITIATOR_FIRST: plan.initiator, Story.TARGET_FIRST: plan.initiator.other}
    if first_if_any.get(plan.story, side) is not side:
        await end.receive()
        await end.send()
        return
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(end.receive())
        if plan.actor is side:
            await end.send_marked(plan.cut_bytes, plan.tos, settled=plan.settled)
        else:
            await end.send()
        if plan.story in WHOLE or plan.actor is side:
            end.finish()


async def _say_up_to_the_cut(plan: Plan, side: Side, end: End) -> None:
    if plan.front_end == "http":
        if side is Side.EXTERNAL:
            await http.hear_request(plan, end)
        await end.send_to_the_cut(plan.cut_bytes, settled=plan.settled)
    else:
        # As long as it is to be acknowledged it reads: whose window is closed looks at no ACK that comes with more.
        hearing = asyncio.create_task(end.receive())
        await end.send_to_the_cut(plan.cut_bytes, settled=plan.settled)
        hearing.cancel()
        await asyncio.wait([hearing])
        if not hearing.cancelled():
            hearing.result()
