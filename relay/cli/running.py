"""Runs a command for `relay run`: opens its network and the relay behind that, and waits for the command's end."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import anyio

from relay.backend import choose_backend, spare_collector
from relay.cli.closing import describe_totals
from relay.cli.outputs import Talk, open_outputs
from relay.config import RelayConfig
from relay.errors import ConfigError
from relay.interrupt import open_signals
from relay.log import EventLog
from relay.server import open_relay
from relay.wire.addresses import addresses_in
from relay.wire.dns.servers import parse_server
from relay.wire.frontend import WireFrontEnd
from relay.wire.host.name_settings import NameSettings
from relay.wire.namespace.opening import Namespace, open_namespace
from relay.wire.reach import Reach

_OFFLOADS = ("auto", "off")


def run_behind_nat(
    config: RelayConfig,
    command: list[str],
    *,
    network: str,
    map_root: bool,
    reaches_host: bool,
    dns: list[str],
    offload: str,
    backend: str,
    events: str | None,
    verbose: bool,
) -> int:
    """Run a command in a network of its own, behind the relay; return its exit status.

    Raises:
        RelayError: it cannot be run like this, or here.
    """
    try:
        addresses = addresses_in(network)
    except ValueError as error:
        hint = "give a network of 256 addresses or more, as 192.168.127.0/24"
        raise ConfigError(f"--network: {error}", hint=hint) from None
    if offload not in _OFFLOADS:
        raise ConfigError(f"--offload: {offload!r} is not known", hint=f"it is one of {', '.join(_OFFLOADS)}")
    host_address = addresses.host if reaches_host else None
    servers = [parse_server(text, where="--dns") for text in dns]
    names = NameSettings(host_address=host_address, servers=servers, overrides=config.resolve)
    library, library_options = choose_backend(backend, where="--backend")
    log = EventLog()
    with open_outputs(log, events) as talk:
        if verbose:
            talk.follow()
        spare_collector()

        async def serve() -> int:
            namespace = await open_namespace(command, addresses, offload=offload == "auto", map_root=map_root)
            reach = Reach(addresses, host=reaches_host)
            return await _serve(config, log, talk if verbose else None, namespace, reach, names)

        return anyio.run(serve, backend=library, backend_options=library_options)


async def _serve(
    config: RelayConfig, log: EventLog, talk: Talk | None, namespace: Namespace, reach: Reach, names: NameSettings
) -> int:
    try:
        stack = config.profile.stack.build()
        front_end = WireFrontEnd(namespace.link, stack, reach, names, config.seed, namespace.owners)
        with open_signals(signal.SIGINT, signal.SIGTERM) as received:
            async with open_relay(config, log, front_ends=[front_end]) as relay:
                namespace.start()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_pass_on, received, namespace)
                    status = await namespace.wait()
                    tasks.cancel_scope.cancel()
                await relay.drain(config.drain_timeout_s)
        if talk is not None:
            talk.say(describe_totals(relay.totals))
        return status
    finally:
        namespace.close()


async def _pass_on(received: AsyncIterator[signal.Signals], namespace: Namespace) -> None:
    async for number in received:
        if number is not signal.SIGINT:  # the terminal has sent the command its own
            namespace.send_signal(number)
