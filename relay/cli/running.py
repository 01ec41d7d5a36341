"""Runs a command for `relay run`: opens its network and the relay behind that, and waits for the command's end."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import anyio

from relay.backend import choose_backend, spare_collector
from relay.cli.closing import describe_dropped, describe_totals
from relay.cli.outputs import Talk, open_outputs
from relay.cli.serving import steering_of
from relay.config import RelayConfig
from relay.errors import ConfigError
from relay.interrupt import open_signals
from relay.log import EventLog
from relay.net.descriptors import raise_descriptor_limit
from relay.server import Started, open_relay
from relay.wire.frontend import WireFrontEnd
from relay.wire.guest_network import GuestNetwork
from relay.wire.namespace.opening import Namespace, open_namespace

if TYPE_CHECKING:
    from relay.control_api import ControlSpec

_TYPED = (signal.SIGINT, signal.SIGQUIT)  # at a terminal, which has sent the command its own
_SENT = (signal.SIGTERM, signal.SIGHUP)


def run_behind_nat(
    config: RelayConfig,
    command: list[str],
    *,
    network: GuestNetwork,
    offload: bool,
    map_root: bool,
    backend: str,
    events: str | None,
    pcap: str | None,
    control: ControlSpec | None,
    verbose: bool,
) -> int:
    """Run a command in a network of its own, behind the relay; return its exit status.

    Raises:
        RelayError: it cannot be run like this, or here.
    """
    library, library_options = choose_backend(backend, where="--backend")
    if pcap == "-":
        raise ConfigError("--pcap: stdout is the command's own", hint="name a file, or a FIFO that is read")
    log = EventLog()
    with open_outputs(log, events, pcap, guests=True) as talk:
        if verbose:
            talk.follow()
        spare_collector()
        steering = steering_of(control, log)

        async def serve() -> int:
            namespace = await open_namespace(command, network.addresses, offload=offload, map_root=map_root)
            raise_descriptor_limit()  # the relay's alone: the command was given what its caller has
            return await _serve(config, log, talk, namespace, network, steering, verbose=verbose)

        return anyio.run(serve, backend=library, backend_options=library_options)


async def _serve(
    config: RelayConfig,
    log: EventLog,
    talk: Talk,
    namespace: Namespace,
    network: GuestNetwork,
    steering: Callable[[Started], AbstractAsyncContextManager[str]],
    *,
    verbose: bool,
) -> int:
    try:
        stack = config.profile.stack.build()
        front_end = WireFrontEnd(namespace.link, stack, network, config.seed, namespace.owners, talk.tap)
        with open_signals(*_TYPED, *_SENT) as received:
            async with open_relay(config, log, front_ends=[front_end]) as relay, steering(relay) as control_url:
                if control_url:
                    talk.say(f"control {control_url}")
                talk.begin()
                namespace.start()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_pass_on, received, namespace)
                    status = await namespace.wait()
                    tasks.cancel_scope.cancel()
                await relay.drain(config.drain_timeout_s)
        if verbose:
            talk.say(describe_totals(relay.totals))
            if dropped := front_end.dropped:
                talk.say(describe_dropped(dropped))
        return status
    finally:
        namespace.close()


async def _pass_on(received: AsyncIterator[signal.Signals], namespace: Namespace) -> None:
    async for number in received:
        if number not in _TYPED:
            namespace.send_signal(number)
