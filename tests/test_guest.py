"""A relay in a trio that is a guest of an asyncio loop: both run in one thread, and the relay's tasks are trio's."""

from __future__ import annotations

import asyncio

import outcome
import trio

from relay.config import configure
from relay.net.waker import TaskWaker
from relay.server import open_relay
from support.origins import Origin, echo


def test_a_relay_serves_in_trio_as_a_guest_of_asyncio() -> None:
    async def ask(port: int) -> bytes:
        forward = f"127.0.0.1:0:localhost:{port}"  # a name: looking it up takes a task
        async with open_relay(configure("transparent", listen=None, forwards=[forward])) as relay:
            assert isinstance(relay._driver.engine._waker, TaskWaker), "asyncio's callbacks are not within trio"
            address = relay.forward_addresses[0]
            with trio.fail_after(10), trio.socket.socket() as app:
                await app.connect(address)
                await app.send(b"hello")
                return await app.recv(5)

    async def host(port: int) -> bytes:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[outcome.Outcome[bytes]] = loop.create_future()
        trio.lowlevel.start_guest_run(
            ask, port, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        return (await done).unwrap()

    with Origin(echo) as origin:
        assert asyncio.run(host(origin.port)) == b"hello"
