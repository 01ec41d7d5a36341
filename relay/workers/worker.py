"""One worker: a relay on shared addresses that carries out its parent's commands and reports everything to it.

It is run as `python -m relay.workers.worker DESCRIPTOR BACKEND PID`, the last of the parent. Signals are blocked in it
from the start: Ctrl-C goes to every process of a terminal, and SIGTERM to every process of a service, but only the
parent ends the workers.

A worker never outlives its parent. The channel's end is enough for that only while the event loop runs, and while no
other process holds the parent's end of the channel; so a thread watches the parent itself.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from contextlib import suppress

import anyio

from relay.backend import choose_backend, spare_collector
from relay.control import Command, Drain
from relay.errors import ConfigError, RelayBug, RelayError, Unsupported
from relay.log import EventLog
from relay.server import Relay, open_relay
from relay.workers.channel import Channel, Do, Done, Ready, Start
from relay.workers.outbox import Outbox

_GRACE_S = 0.5  # for a worker to reset its flows when its parent has gone
_COUNTED_EVERY_S = 0.5  # what a worker has counted later than that is lost when it is killed
_LAST_RECORDS_S = 3.0  # to send the parent how flows ended; it kills a worker after 5 s


def main(descriptor: int, backend: str, parent: int) -> None:
    """Serve until the parent closes its end of the channel, or ends."""
    sock = socket.socket(fileno=descriptor)
    _end_with(parent, sock)
    channel = Channel(sock)
    library, library_options = choose_backend(backend)
    spare_collector()
    try:
        anyio.run(_work, channel, sock, backend=library, backend_options=library_options)
    except (ConfigError, Unsupported) as error:
        _complain(channel, error)
    except Exception as fault:
        _complain(channel, RelayBug(f"a worker failed: {type(fault).__name__}: {fault}"))
        raise


def _complain(channel: Channel, error: RelayError) -> None:
    with suppress(OSError):  # the parent is gone
        channel.send(error)


def _end_with(parent: int, sock: socket.socket) -> None:
    """Have this process end within `_GRACE_S` when the process `parent` has, however busy its event loop is."""
    with suppress(OSError):  # Linux 5.2, or a sandbox: the channel alone tells
        descriptor = os.pidfd_open(parent)
        threading.Thread(target=_await_end, args=(descriptor, sock), name="parent's end", daemon=True).start()
    if os.getppid() != parent:  # it had ended before, and the number may be another's
        sys.exit(1)


def _await_end(parent: int, sock: socket.socket) -> None:
    ended = select.poll()
    ended.register(parent, select.POLLIN)
    ended.poll()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # the event loop reads the channel's end, and resets the flows
    time.sleep(_GRACE_S)
    os._exit(1)


async def _work(channel: Channel, sock: socket.socket) -> None:
    try:
        start = await channel.receive()
    except EOFError:
        return
    if not isinstance(start, Start):
        raise RelayBug(f"a worker got {start!r} first")
    log = EventLog(start.clock)
    outbox = Outbox(sock, log)
    try:
        async with open_relay(start.config, log, share=start.share) as relay:
            for command in start.commands:
                relay.do(command)
            outbox.put(Ready(relay.fidelity))
            if start.tell:
                log.subscribe(outbox.record)
            await _obey(relay, channel, outbox)
        outbox.put(relay.totals)
    finally:
        outbox.finish(_LAST_RECORDS_S)


async def _obey(relay: Relay, channel: Channel, outbox: Outbox) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.run)
        tasks.start_soon(_keep_parent_counting, relay, outbox)
        try:
            while True:
                message = await channel.receive()
                if not isinstance(message, Do):
                    raise RelayBug(f"a worker got {message!r}")
                outbox.put(await _carry_out(relay, message.command))
                if isinstance(message.command, Drain):
                    tasks.start_soon(_end_when_idle, relay, message.command.at_most_s, tasks.cancel_scope)
        except EOFError:
            tasks.cancel_scope.cancel()


async def _keep_parent_counting(relay: Relay, outbox: Outbox) -> None:
    told = relay.totals
    while True:
        await anyio.sleep(_COUNTED_EVERY_S)
        if (totals := relay.totals) != told and not outbox.is_behind:
            outbox.put(totals)
            told = totals


async def _carry_out(relay: Relay, command: Command[object]) -> Done:
    try:
        return Done(await relay.carry_out(command))
    except RelayError as error:
        return Done(error=error)


async def _end_when_idle(relay: Relay, at_most_s: float, scope: anyio.CancelScope) -> None:
    await relay.wait_until_idle(at_most_s)
    scope.cancel()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
