"""One worker: a relay like any other, on shared addresses, that hears its parent and tells it all.

It is run as `python -m relay.workers.worker DESCRIPTOR BACKEND`. Signals are blocked in it from the start: Ctrl-C goes
to every process of a terminal, and SIGTERM to every process of a service, but it is the parent that tells the workers.
"""

from __future__ import annotations

import socket
import sys

import anyio

from relay.backend import choose_backend, spare_collector
from relay.errors import ConfigError, RelayBug, Unsupported
from relay.eventlog import EventLog
from relay.server import Relay, open_relay
from relay.workers.channel import Channel, Drain, Draining, LinkDown, Ready, Start


def main(descriptor: int, backend: str) -> None:
    """Serve until the parent closes its end."""
    channel = Channel(socket.socket(fileno=descriptor))
    library, library_options = choose_backend(backend)
    spare_collector()
    try:
        anyio.run(_work, channel, backend=library, backend_options=library_options)
    except (ConfigError, Unsupported) as error:
        channel.send(error)
    except Exception as fault:
        channel.send(RelayBug(f"a worker failed: {type(fault).__name__}: {fault}"))
        raise


async def _work(channel: Channel) -> None:
    match await channel.receive():
        case Start() as start:
            pass
        case other:
            raise RelayBug(f"a worker was told {other!r} first")
    log = EventLog(start.clock)
    async with open_relay(start.config, log, share=start.share) as relay:
        channel.send(Ready(relay.fidelity))
        if start.tell:
            log.subscribe(channel.send)
        await _obey(relay, channel)


async def _obey(relay: Relay, channel: Channel) -> None:
    async with anyio.create_task_group() as tasks:
        try:
            while True:
                match await channel.receive():
                    case LinkDown():
                        relay.link_down()
                    case Drain(at_most_s):
                        channel.send(Draining(relay.flow_count))
                        tasks.start_soon(_drain, relay, at_most_s, tasks.cancel_scope)
        except EOFError:
            tasks.cancel_scope.cancel()


async def _drain(relay: Relay, at_most_s: float, scope: anyio.CancelScope) -> None:
    await relay.drain(at_most_s)
    scope.cancel()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
