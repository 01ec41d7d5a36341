"""The command line: `relay serve`, `relay profiles`, `relay explain`, `relay doctor`, `relay demo`.

Data goes to stdout, talk to stderr. A mistake is answered with one line that names it and a hint, and exit code 2; what
this host cannot do with exit code 3. Every option can be set by an environment variable instead.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Optional

import anyio
import typer

from relay import report
from relay.backend import choose_backend, spare_collector
from relay.config import DEFAULT_LISTEN, DEFAULT_PROFILE, configure
from relay.config.auth_file import read_auth_file
from relay.debug import is_debugging
from relay.demo import run_demo
from relay.errors import ConfigError, RelayError
from relay.fidelity import assess
from relay.interrupt import interrupted_once, open_signals
from relay.log import EventLog
from relay.observe import survey
from relay.output_file import worded, write_whole
from relay.outputs import Talk, open_outputs
from relay.profiles import load_profile
from relay.server import Started, open_relay
from relay.terminal import STDOUT_HINT, colour, complain, mute_stderr, stdout, stdout_failure, tell
from relay.workers import check_workers, open_workers

_LINK_DOWN = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()  # Windows has none


def _number(option: str, kind: type[int] | type[float], metavar: str, example: str, explained: str) -> Any:
    """An option that is a number. The parser's own complaint would name neither the value nor, alone, the option."""

    def read(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            noun = "a whole number" if kind is int else "a number"
            hint = f"e.g. {option} {example}; see `relay serve --help`"
            raise ConfigError(f"{option}: {text!r} is not {noun}", hint=hint) from None

    variable = f"RELAY_{option.removeprefix('--').replace('-', '_').upper()}"
    return typer.Option(option, parser=read, envvar=variable, metavar=metavar, help=explained)


app = typer.Typer(
    name="relay",
    help="A relay that behaves like a hypervisor's user-space NAT.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ProfileOption = Annotated[
    str, typer.Option("--profile", envvar="RELAY_PROFILE", help="A profile's name, or a TOML file.")
]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads the annotation itself
    typer.Option("--set", envvar="RELAY_SET", metavar="BEHAVIOUR.SETTING=VALUE", help="Change a setting; repeatable."),
]
ObserverOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--observer", envvar="RELAY_OBSERVER", help="Force a provider of facts, or none."),
]
BackendOption = Annotated[
    str, typer.Option("--backend", envvar="RELAY_BACKEND", metavar="asyncio|trio|uvloop", help="The async library.")
]


def main() -> None:
    """Run the command line and exit."""
    if sys.stderr is None:  # closed: its text must not end up among the data
        mute_stderr()
    raise SystemExit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    code = _run(arguments)
    failure = stdout_failure()
    if failure is None:
        return code
    with suppress(OSError):
        sys.stdout.close()  # or the interpreter would try and fail once more
    if isinstance(failure, BrokenPipeError):  # the reader has left, so nothing is missing
        return 141
    complain(f"stdout: {failure.strerror}", STDOUT_HINT)
    return 2


def _run(arguments: list[str]) -> int:
    try:
        result = typer.main.get_command(app).main(arguments or ["--help"], prog_name="relay", standalone_mode=False)
    except RelayError as error:
        complain(str(error), error.hint)
        return error.exit_code
    except typer.Abort:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left, and the interpreter would say so again
        return 141
    except Exception as fault:
        if hasattr(fault, "format_message"):  # the parser's: an unknown option or command, a value that does not fit
            command = _command_path(getattr(fault, "ctx", None), arguments)
            complain(fault.format_message().replace("\n", " "), f"see `{command} --help`")
            return 2
        if isinstance(fault, OSError) and stdout_failure() is not None:
            return 2  # and `run` says why
        if is_debugging():
            raise
        complain(f"bug: {type(fault).__name__}: {fault}", "please report it; RELAY_DEBUG=1 shows where")
        return 1
    return result if isinstance(result, int) else 0


def _command_path(context: object, arguments: list[str]) -> str:
    # An option without its value, or with one too many, comes without a context. What stands first is then a command.
    words = ["relay", *(word for word in arguments[:1] if not word.startswith("-"))]
    return str(getattr(context, "command_path", " ".join(words)))


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        tell(version("vmnat-relay"))
        raise typer.Exit


@app.command()
def serve(
    profile: ProfileOption = DEFAULT_PROFILE,
    settings: SetOption = None,
    listen: Annotated[
        str, typer.Option("--listen", envvar="RELAY_LISTEN", metavar="HOST:PORT", help="The proxy; port 0 picks one.")
    ] = DEFAULT_LISTEN,
    forward: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--forward", envvar="RELAY_FORWARD", metavar="[BIND:]PORT:HOST:PORT", help="A port forward; repeatable."
        ),
    ] = None,
    inbound: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--inbound",
            envvar="RELAY_INBOUND",
            metavar="[BIND:]PORT:HOST:PORT",
            help="A port forward to the guest: what is dialled is the internal side; repeatable.",
        ),
    ] = None,
    auth: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--auth", envvar="RELAY_AUTH", metavar="USER:PASS", help="Who may use the proxy; ps shows it."),
    ] = None,
    auth_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--auth-file", envvar="RELAY_AUTH_FILE", metavar="FILE", help="The same, a file's one line."),
    ] = None,
    allow_open: Annotated[
        bool, typer.Option("--allow-open", envvar="RELAY_ALLOW_OPEN", help="Serve every client, also beyond loopback.")
    ] = False,
    backend: BackendOption = "asyncio",
    workers: Annotated[
        int,
        _number("--workers", int, "N", "4", "Processes that serve, for several cores (Linux)."),
    ] = 1,
    observer: ObserverOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", envvar="RELAY_STRICT", help="Do not start if a quirk is impossible here.")
    ] = False,
    events: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--events", envvar="RELAY_EVENTS", metavar="FILE|-", help="Write JSON lines; - is stdout."),
    ] = None,
    resolve: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--resolve", envvar="RELAY_RESOLVE", metavar="NAME:PORT:ADDR", help="Answer a name ourselves; repeatable."
        ),
    ] = None,
    source: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--source", envvar="RELAY_SOURCE", metavar="ADDR", help="The address to dial from."),
    ] = None,
    port_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--port-file", envvar="RELAY_PORT_FILE", metavar="FILE", help="Write the ports here when ready."),
    ] = None,
    handshake_timeout: Annotated[
        float,
        _number("--handshake-timeout", float, "SECONDS", "2.5", "Seconds a client has to say what it wants."),
    ] = 10.0,
    connect_timeout: Annotated[
        float,
        _number(
            "--connect-timeout", float, "SECONDS", "2.5", "Seconds a destination has to be resolved and to answer."
        ),
    ] = 30.0,
    idle_timeout: Annotated[
        Optional[float],  # noqa: UP045
        _number(
            "--idle-timeout", float, "SECONDS", "300", "Reset flows that carry no bytes for this long (default: never)."
        ),
    ] = None,
    drain_timeout: Annotated[
        float,
        _number("--drain-timeout", float, "SECONDS", "0.5", "Seconds flows have to end when the relay stops."),
    ] = 5.0,
    max_flows: Annotated[
        Optional[int],  # noqa: UP045
        _number("--max-flows", int, "N", "1000", "How many flows may be open; beyond it a caller is refused."),
    ] = None,
    time_scale: Annotated[
        float,
        _number("--time-scale", float, "FACTOR", "10", "Have the NAT's clock run so much faster."),
    ] = 1.0,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        _number("--seed", int, "N", "7", "Repeat a run's random choices (default: picked anew)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", envvar="RELAY_QUIET", help="No event log on the terminal.")] = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM; SIGUSR1 takes the link down for a blink."""
    library, library_options = choose_backend(backend, where="--backend")
    if auth_file is not None:
        if auth is not None:
            hint = "give one of them; RELAY_AUTH and RELAY_AUTH_FILE count, too"
            raise ConfigError("--auth-file: --auth says already who may use the proxy", hint=hint)
        auth = read_auth_file(auth_file)
    config = configure(
        profile,
        settings=settings or (),
        listen=listen,
        forwards=forward or (),
        inbound=inbound or (),
        auth=auth,
        allow_open=allow_open,
        observer=observer,
        strict=strict,
        resolve=resolve or (),
        source=source,
        handshake_timeout_s=handshake_timeout,
        connect_timeout_s=connect_timeout,
        idle_timeout_s=idle_timeout,
        drain_timeout_s=drain_timeout,
        max_flows=max_flows,
        time_scale=time_scale,
        seed=seed,
    )
    check_workers(workers, config)
    _raise_descriptor_limit()
    log = EventLog()
    with open_outputs(log, events) as talk:

        def open_() -> AbstractAsyncContextManager[Started]:
            if workers == 1:
                return open_relay(config, log)
            return open_workers(config, log, count=workers, backend=backend, tell=events is not None or not quiet)

        spare_collector()
        anyio.run(_serve, open_, talk, port_file, quiet, backend=library, backend_options=library_options)


@app.command()
def profiles() -> None:
    """List the profiles."""
    tell(report.profiles())


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="A profile's name, or a TOML file.")] = DEFAULT_PROFILE,
    settings: SetOption = None,
    observer: ObserverOption = None,
) -> None:
    """Show a profile's quirks, their evidence, and what this host can do about each."""
    profile = load_profile(name, tuple(settings or ()))
    tell(report.explain(profile, assess(profile, survey(observer)), colour=colour(stdout())))


@app.command()
def doctor(observer: ObserverOption = None) -> None:
    """Show what this host can see and do, and the remedy for what it cannot."""
    tell(report.doctor(survey(observer), colour=colour(stdout())))


@app.command()
def demo(
    json: Annotated[
        bool, typer.Option("--json", envvar="RELAY_JSON", help="One JSON object at the end instead of text.")
    ] = False,
    backend: BackendOption = "asyncio",
    observer: ObserverOption = None,
) -> None:
    """Play three stories through a plain NAT's stand-in and through VMware's NAT, side by side."""
    choose_backend(backend, where="--backend")
    stream = stdout()
    with interrupted_once():
        run_demo(stream, json=json, colour=colour(stream), backend=backend, observer=observer)


async def _serve(
    open_: Callable[[], AbstractAsyncContextManager[Started]], talk: Talk, port_file: Path | None, quiet: bool
) -> None:
    # Signals first: the reader of the port file may send one at once.
    with open_signals(signal.SIGINT, signal.SIGTERM, *_LINK_DOWN) as received:
        async with open_() as relay:
            if port_file is not None:
                _write_ports(port_file, relay)
            talk.say(report.banner(relay, colour=colour(sys.stderr)))
            if not quiet:
                talk.follow()
            await _until_told_to_stop(relay, received)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_told_again, tasks.cancel_scope, relay, received)
                await relay.drain(relay.config.drain_timeout_s)
                tasks.cancel_scope.cancel()


async def _until_told_to_stop(relay: Started, received: AsyncIterator[signal.Signals]) -> None:
    async for number in received:
        if number not in _LINK_DOWN:
            return
        relay.link_down()


async def _cancel_when_told_again(
    scope: anyio.CancelScope, relay: Started, received: AsyncIterator[signal.Signals]
) -> None:
    await _until_told_to_stop(relay, received)
    scope.cancel()


def _write_ports(path: Path, relay: Started) -> None:
    proxy = [relay.address] if relay.address is not None else []
    addresses = [*proxy, *relay.forward_addresses, *relay.inbound_addresses]
    with worded("--port-file", path, accepted="name a file that can be written"):
        write_whole(path, "".join(f"{address.port}\n" for address in addresses))


def _raise_descriptor_limit() -> None:
    """A relay needs two descriptors a flow; the soft limit is often 256 or 1024, the hard one far more."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS says unlimited and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
