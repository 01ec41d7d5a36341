"""Serves for `relay serve`: opens the relay and what it writes, and acts on signals until the last flow has ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from relay.backend import choose_backend, spare_collector
from relay.cli.banner import banner
from relay.cli.closing import describe_totals
from relay.cli.output_file import worded, write_whole
from relay.cli.outputs import Talk, open_outputs
from relay.cli.terminal import colour
from relay.config import RelayConfig
from relay.errors import ConfigError
from relay.interrupt import open_signals
from relay.log import EventLog
from relay.net.descriptors import raise_descriptor_limit
from relay.server import Started, open_relay

if TYPE_CHECKING:
    from relay.control_api import ControlSpec
    from relay.wire.guests import Guests


def _signals(*names: str) -> tuple[signal.Signals, ...]:
    """Those of these that this system has: Windows has none of them, BSD and macOS alone have SIGINFO."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


_LINK_DOWN = _signals("SIGUSR1")
_SUM_UP = _signals("SIGUSR2", "SIGINFO")
_REOPEN = _signals("SIGHUP")


def serve_until_stopped(
    config: RelayConfig,
    guests: Guests | None,
    *,
    control: ControlSpec | None,
    backend: str,
    workers: int,
    events: str | None,
    pcap: str | None,
    port_file: Path | None,
    quiet: bool,
    when_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve in this process, or in several, until a signal ends it.

    `when_ready` is called with the control's URL once it serves.

    Raises:
        RelayError: it cannot be served like this, or here.
    """
    if workers != 1:
        from relay.workers import check_workers

        check_workers(workers, config)
        if guests is not None:
            raise ConfigError("--wire: a guest's link is for one process", hint="leave out --workers")
    library, library_options = choose_backend(backend, where="--backend")
    raise_descriptor_limit()
    log = EventLog()
    tell = not quiet or events is not None or pcap is not None
    with open_outputs(log, events, pcap, guests=guests is not None) as talk:

        def open_() -> AbstractAsyncContextManager[Started]:
            if workers == 1:
                return open_relay(config, log) if guests is None else _open_here(config, log, guests, talk)
            from relay.workers import open_workers

            return open_workers(config, log, count=workers, backend=backend, tell=tell)

        spare_collector()
        network = guests.network if guests is not None else None
        in_words = partial(banner, workers=workers, colour=colour(sys.stderr), network=network)
        run = partial(_serve, open_, talk, port_file, quiet, in_words, when_ready, steering_of(control, log))
        anyio.run(run, backend=library, backend_options=library_options)


def steering_of(control: ControlSpec | None, log: EventLog) -> Callable[[Started], AbstractAsyncContextManager[str]]:
    """What serves the control beside a relay; it gives its URL, empty without one."""
    if control is None:
        return lambda _: nullcontext("")
    from relay.control_api import History, open_control

    history, spec = History(log), control

    @asynccontextmanager
    async def steering(relay: Started) -> AsyncIterator[str]:
        async with open_control(spec, relay, history) as server:
            yield server.url

    return steering


@asynccontextmanager
async def _open_here(config: RelayConfig, log: EventLog, guests: Guests, talk: Talk) -> AsyncIterator[Started]:
    with guests.front_ends(config.profile.stack.build(), config.seed, talk.tap) as front_ends:
        async with open_relay(config, log, front_ends=front_ends) as relay:
            yield relay


async def _serve(
    open_: Callable[[], AbstractAsyncContextManager[Started]],
    talk: Talk,
    port_file: Path | None,
    quiet: bool,
    in_words: Callable[[Started], str],
    when_ready: Callable[[str], None],
    steering: Callable[[Started], AbstractAsyncContextManager[str]],
) -> None:
    # Signals first: the reader of the port file may send one at once.
    with open_signals(signal.SIGINT, signal.SIGTERM, *_LINK_DOWN, *_SUM_UP, *_REOPEN) as received:
        async with open_() as relay, steering(relay) as control_url:
            if port_file is not None:
                _write_ports(port_file, relay, control_url)
            talk.begin()
            talk.say(in_words(relay))
            if control_url:
                talk.say(f"control {control_url}")
                when_ready(control_url)
            if not quiet:
                talk.follow()
            await _until_signal_to_stop(relay, received, talk)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_at_next_signal, tasks.cancel_scope, relay, received, talk)
                await relay.drain(relay.config.drain_timeout_s)
                tasks.cancel_scope.cancel()
    talk.say(describe_totals(relay.totals))


async def _until_signal_to_stop(relay: Started, received: AsyncIterator[signal.Signals], talk: Talk) -> None:
    had_terminal = sys.stderr.isatty()
    async for number in received:
        if number in _LINK_DOWN:
            relay.link_down()
        elif number in _SUM_UP:
            talk.say(describe_totals(await relay.count_up()))
        elif number in _REOPEN and not (had_terminal and not sys.stderr.isatty()):  # else the terminal has gone
            for output in talk.rotated:
                output.reopen()
        else:
            return


async def _cancel_at_next_signal(
    scope: anyio.CancelScope, relay: Started, received: AsyncIterator[signal.Signals], talk: Talk
) -> None:
    await _until_signal_to_stop(relay, received, talk)
    scope.cancel()


def _write_ports(path: Path, relay: Started, control_url: str) -> None:
    proxy = [relay.address] if relay.address is not None else []
    addresses = [*proxy, *relay.forward_addresses, *relay.inbound_addresses]
    with worded("--port-file", path, accepted="name a file that can be written"):
        ports = [*(str(address.port) for address in addresses), *_port_of(control_url)]
        write_whole(path, "".join(f"{port}\n" for port in ports))


def _port_of(url: str) -> list[str]:
    return [url.rpartition(":")[2]] if url.startswith("http") else []
