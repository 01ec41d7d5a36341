"""A relay in a program that has a loop of its own: of plain asyncio, or of a trio that is a guest of asyncio's."""

from __future__ import annotations

import asyncio

import outcome
import trio

from relay.config import configure
from relay.log import EventLog
from relay.loop.waker import TaskWaker
from relay.server import open_relay
from support.origins import Origin, echo


def test_a_relay_serves_in_a_program_that_knows_nothing_of_anyio(readiness: str) -> None:
    """Outside the program's tasks, in its loop's callbacks, nothing but the relay tells anyio what runs."""

    async def ask(port: int) -> bytes:
        log = EventLog()
        log.subscribe(lambda _: None)  # then it looks up whose flow it is
        forward = f"127.0.0.1:0:localhost:{port}"  # a name: looking it up takes a task
        async with open_relay(configure("transparent", listen=None, forwards=[forward]), log) as relay:
            answers = b""
            for word in (b"hello", b"again"):  # the first may be accepted in a task still
                reader, writer = await asyncio.open_connection(*relay.forward_addresses[0])
                writer.write(word)
                answers += await asyncio.wait_for(reader.readexactly(5), 10)
                writer.close()
            return answers

    with Origin(echo) as origin:
        assert asyncio.run(ask(origin.port)) == b"helloagain"


def test_a_relay_serves_in_trio_as_a_guest_of_asyncio() -> None:
    """Both run in one thread, and the relay's tasks are trio's."""

    async def ask(port: int) -> bytes:
        forward = f"127.0.0.1:0:localhost:{port}"  # a name: looking it up takes a task
        async with open_relay(configure("transparent", listen=None, forwards=[forward])) as relay:
            assert isinstance(relay._driver.engine._waker, TaskWaker), "asyncio's callbacks are not within trio"
            address = relay.forward_addresses[0]
            with trio.fail_after(60), trio.socket.socket() as app:
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
