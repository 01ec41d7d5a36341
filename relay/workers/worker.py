"""One worker: a relay like any other, on shared addresses, that hears its parent and tells it all.

It is run as `python -m relay.workers.worker DESCRIPTOR BACKEND`. Signals are blocked in it from the start: Ctrl-C goes
to every process of a terminal, and SIGTERM to every process of a service, but it is the parent that tells the workers.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

import anyio

from relay.backend import choose_backend, spare_collector
from relay.errors import ConfigError, RelayBug, RelayError, Unsupported
from relay.eventlog import EventLog
from relay.server import Relay, open_relay
from relay.workers.channel import Channel, Drain, Draining, LinkDown, Ready, Start
from relay.workers.outbox import Outbox

_LAST_WORDS_S = 3.0  # for a parent to hear how they ended; it kills a worker after 5 s


def main(descriptor: int, backend: str) -> None:
    """Serve until the parent closes its end of the channel."""
    sock = socket.socket(fileno=descriptor)
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


async def _work(channel: Channel, sock: socket.socket) -> None:
    try:
        start = await channel.receive()
    except EOFError:
        return
    if not isinstance(start, Start):
        raise RelayBug(f"a worker was told {start!r} first")
    log = EventLog(start.clock)
    outbox = Outbox(sock, log)
    try:
        async with open_relay(start.config, log, share=start.share) as relay:
            outbox.put(Ready(relay.fidelity))
            if start.tell:
                log.subscribe(outbox.record)
            await _obey(relay, channel, outbox)
    finally:
        outbox.finish(_LAST_WORDS_S)


async def _obey(relay: Relay, channel: Channel, outbox: Outbox) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.run)
        try:
            while True:
                match await channel.receive():
                    case LinkDown():
                        relay.link_down()
                    case Drain(at_most_s):
                        outbox.put(Draining(relay.flow_count))
                        tasks.start_soon(_drain, relay, at_most_s, tasks.cancel_scope)
        except EOFError:
            tasks.cancel_scope.cancel()


async def _drain(relay: Relay, at_most_s: float, scope: anyio.CancelScope) -> None:
    await relay.drain(at_most_s)
    scope.cancel()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
