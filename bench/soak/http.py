"""Plain HTTP through the proxy: requests and responses whose bodies are the flow's two streams, cut into exchanges.

The client waits for a response before its next request, and closes when it has had the last. In a flow that is to be
cut there is one exchange only, and the side that resets does so in its own body.
"""

from __future__ import annotations

from bench.soak.ends import End
from bench.soak.openings import check_status, post
from bench.soak.plans import Plan, Story
from relay.events import Side


def shares(size_bytes: int, exchanges: int) -> list[int]:
    """Where each exchange's part of a stream ends."""
    return [size_bytes * (number + 1) // exchanges for number in range(exchanges)]


def first_head(plan: Plan, port: int) -> bytes:
    """What the client says before anything of its stream."""
    return post(port, shares(plan.sizes[Side.INTERNAL], plan.exchanges)[0])


async def request(plan: Plan, end: End, port: int) -> None:
    """Be the client, whose first head is sent, up to the last response or a broken connection."""
    sends, takes = (shares(plan.sizes[side], plan.exchanges) for side in (Side.INTERNAL, Side.EXTERNAL))
    for number, (send_to, take_to) in enumerate(zip(sends, takes, strict=True)):
        if number and not await end.send_raw(post(port, send_to - end.sent_bytes)):
            return
        if plan.story is Story.TOS:
            said = await end.send_marked(plan.cut_bytes, plan.tos, settled=plan.settled)
        else:
            said = await end.send(send_to)
        if not said:
            return
        head = await end.receive_head()
        if not head:
            return
        check_status("http", head)
        await end.receive(take_to)


def response_head(length: int) -> bytes:
    """The head of a response."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length


async def hear_request(plan: Plan, end: End) -> None:
    """Be the server of a single exchange, up to the response's body."""
    await end.receive_head()
    await end.receive(plan.sizes[Side.INTERNAL])
    await end.send_raw(response_head(plan.sizes[Side.EXTERNAL]))


async def respond(plan: Plan, end: End) -> None:
    """Be the server, until the client is done."""
    sends, takes = (shares(plan.sizes[side], plan.exchanges) for side in (Side.EXTERNAL, Side.INTERNAL))
    for send_to, take_to in zip(sends, takes, strict=True):
        if not await end.receive_head():
            return
        await end.receive(take_to)
        if end.received_bytes < take_to:
            return
        if not await end.send_raw(response_head(send_to - end.sent_bytes)) or not await end.send(send_to):
            return
    await end.receive()
