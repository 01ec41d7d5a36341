"""Runs `relay probe` and its server: what they print, what they write, and how they end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex

import anyio

from relay.address import Endpoint, parse_endpoint
from relay.backend import choose_backend
from relay.cli.output_file import worded, write_whole
from relay.cli.probe_log import ProbeLog
from relay.cli.probe_progress import ProgressLine
from relay.cli.reports.probe import comparison, findings_as_json
from relay.cli.terminal import complain, tell, tell_json
from relay.config import check_time_scale
from relay.errors import ConfigError, RelayError, Unsupported
from relay.interrupt import open_signals
from relay.net.descriptors import raise_descriptor_limit
from relay.probe import (
    PROBES,
    Course,
    Findings,
    Plan,
    beyond,
    one_error,
    open_probe_server,
    profile_as_toml,
    run_probes,
)
from relay.probe.client.proxy import parse_proxy
from relay.probe.clock import ProbeClock
from relay.probe.probe import Probe
from relay.probe.server.limits import MAX_HELD
from relay.probe.token import check_token, make_token, read_token
from relay.profiles import load_profile
from relay.settings import nearest

_VARIABLE = "RELAY_PROBE_TOKEN"
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_LONGEST_S = 86_000.0  # within the day that a server's step may take
_KEEPALIVE_WATCH_S = 170.0  # of the NAT's clock; a NAT that probes every 75 s does so twice
_LEAST_WATCH_S = 6.0  # real; no kernel probes more often than every second


def probe(
    server: str,
    *,
    output: Path | None,
    via: str | None,
    other: str | None,
    control: str | None,
    token_file: Path | None,
    only: Sequence[str],
    quick: bool,
    max_idle_s: float,
    max_life_s: float,
    watch_s: float,
    max_flows: int,
    only_server: bool,
    time_scale: float,
    patience_s: float,
    title: str,
    compare_with: str | None,
    baseline: str | None,
    json: bool,
    backend: str,
) -> int:
    """Measure, and write what was found, also when it was not all; return the exit code.

    Raises:
        RelayError: it cannot be measured like this, or nothing was found.
    """
    library, library_options = choose_backend(backend, where="--backend")
    check_time_scale(time_scale, where="--time-scale")
    for option, value, low, high in (
        ("--patience", patience_s, 0.01, 3600.0),
        ("--max-idle", max_idle_s, 1.0, _LONGEST_S),
        ("--max-life", max_life_s, 0.0, _LONGEST_S),
        ("--watch", watch_s, 0.0, _LONGEST_S),
    ):
        if not low <= value <= high:
            raise ConfigError(f"{option}: {value:g} is out of range", hint=f"give from {low:g} to {high:g} seconds")
    if not 1 <= max_flows <= MAX_HELD:
        raise ConfigError(f"--max-flows: {max_flows} is out of range", hint=f"give from 1 to {MAX_HELD}")
    compared = load_profile(compare_with) if compare_with is not None else None
    nearer = load_profile(baseline) if baseline is not None else None
    course = Course(
        server=parse_endpoint(server, where="SERVER"),
        other=parse_endpoint(other, where="--other") if other is not None else None,
        control=parse_endpoint(control, where="--control") if control is not None else None,
        via=parse_proxy(via, where="--via") if via is not None else None,
        token=_token(token_file) or b"",
        plan=Plan(
            max_idle_s=max_idle_s,
            max_life_s=max_life_s,
            max_udp_s=min(max_idle_s, Plan.max_udp_s),
            watch_s=watch_s,
            max_flows=max_flows,
            first_age_s=min(Plan.first_age_s, max_idle_s / 10),
            patience_s=patience_s,
            keepalive_watch_s=0.0 if quick else max(_KEEPALIVE_WATCH_S / time_scale, _LEAST_WATCH_S),
            only_server=only_server,
        ),
    )
    probes = _chosen(only, quick=quick)
    is_new = output is not None and _is_begun(output)
    raise_descriptor_limit()
    clock = ProbeClock(time_scale)

    async def measure() -> bool:
        """Whether it ran to its end."""
        with open_signals(signal.SIGINT, signal.SIGTERM) as received:
            async with anyio.create_task_group() as tasks:
                progress = ProgressLine(sys.stderr)
                tasks.start_soon(progress.run)
                tasks.start_soon(_cancel_on_signal, received, tasks.cancel_scope)
                with progress:
                    await run_probes(course, probes, findings, clock=clock, progress=progress)
                tasks.cancel_scope.cancel()
                return True
        return False

    over: RelayError | None = None
    with _kept(output) as findings:
        try:
            with one_error():
                finished = anyio.run(measure, backend=library, backend_options=library_options)
        except RelayError as error:
            over, finished = error, False
    if over is not None and not findings.by_setting:
        if output is not None and is_new:
            output.unlink(missing_ok=True)
        raise over
    found = beyond(findings, nearer) if nearer is not None else findings
    run = token_hex(2)
    text = profile_as_toml(
        found,
        title=title or (f"A NAT like {found.fits}, measured" if found.fits else "A NAT, measured"),
        date=date.today().isoformat(),  # noqa: DTZ011 - the day where it was measured
        source=f"relay probe {version('vmnat-relay')}, {date.today().isoformat()}, run {run}",  # noqa: DTZ011
        versions=_versions(found),
    )
    if output is not None:
        _write(output, text)
    if json:
        tell_json(findings_as_json(found, compared, finished=finished))
    elif compared is not None:
        tell(comparison(found, compared))
    elif output is None:
        tell(text.rstrip("\n"))
    if over is not None:
        complain(str(over), over.hint)
        return over.exit_code
    return 0 if finished else _INTERRUPTED


def serve_probes(listen: str, *, token_file: Path | None, port_file: Path | None, backend: str) -> None:
    """Serve until a signal ends it.

    Raises:
        RelayError: it cannot be served like this, or here.
    """
    library, library_options = choose_backend(backend, where="--backend")
    bind = parse_endpoint(listen, where="--listen")
    token = _token(token_file)
    made = None
    if token is None and not bind.is_loopback:
        made = make_token()
        token = made.encode()
    raise_descriptor_limit()

    async def serve() -> None:
        with open_signals(signal.SIGINT, signal.SIGTERM) as received:
            async with open_probe_server(bind, token or b"", tell=_say) as server:
                if port_file is not None:
                    with worded("--port-file", port_file, accepted="name a file that can be written"):
                        write_whole(port_file, f"{server.address.port}\n{server.other.address.port}\n")
                _say(f"probe server on {server.address}, and port {server.other.address.port}")
                if made is not None:
                    _say(f"token   {made}")
                    _say(f"        export {_VARIABLE}={made}")
                _say(f"client  relay probe {_reachable(server.address)} -o mine.toml")
                async for _ in received:
                    return

    with one_error():
        anyio.run(serve, backend=library, backend_options=library_options)


async def _cancel_on_signal(received: object, scope: anyio.CancelScope) -> None:
    async for _ in received:  # type: ignore[attr-defined]
        scope.cancel()
        return


def _token(path: Path | None) -> bytes | None:
    """The token that was given, by a file or the environment."""
    if path is not None:
        return read_token(path, where="--token-file")
    if (text := os.environ.get(_VARIABLE)) is not None:
        return check_token(text, where=_VARIABLE)
    return None


@contextmanager
def _kept(output: Path | None) -> Iterator[Findings]:
    """Findings that go into a file beside the output as they come; into none, where that is a device or a pipe."""
    if output is None or (output.exists() and not output.is_file()):
        yield Findings()
        return
    with ProbeLog(output.with_suffix(".jsonl")) as log:
        yield Findings(saw=log.add)
    if log.error:
        complain(f"--output: cannot write {log.path}: {log.error}", "what was seen before that is in it")


def _chosen(names: Sequence[str], *, quick: bool) -> list[Probe]:
    known = {probe.name: probe for probe in PROBES}
    for name in names:
        if name not in known:
            raise ConfigError(f"--only: unknown probe {name!r}", hint=nearest(name, known, what="there are"))
    for probe in (known[name] for name in names):
        if probe.systems and sys.platform not in probe.systems:
            raise Unsupported(f"--only {probe.name}: {sys.platform} lacks what it needs", hint="run it on Linux")
    if names:
        return [probe for probe in PROBES if probe.name in names]
    here = [probe for probe in PROBES if not probe.systems or sys.platform in probe.systems]
    return [probe for probe in here if not probe.is_asked_for and (probe.is_quick or not quick)]


def _versions(findings: Findings) -> str:
    import platform

    server = next((note for note in findings.notes if note.startswith("server: ")), "server: unknown")
    return f"client: {platform.system()} {platform.release()}; {server}"


def _reachable(address: Endpoint) -> str:
    return str(address if address.host not in {"0.0.0.0", "::"} else Endpoint("THIS-HOST", address.port))


def _is_begun(output: Path) -> bool:
    """Whether there was no such file, and now there is; one that cannot be written is known before hours are spent."""
    if output.is_dir():
        raise ConfigError(f"--output: cannot write {output}: it is a folder", hint="name a file that can be written")
    if output.exists():
        return False
    _write(output, "# a probe is under way\n")
    return True


def _write(path: Path, text: str) -> None:
    with worded("--output", path, accepted="name a file that can be written"):
        write_whole(path, text)


_say = partial(print, file=sys.stderr, flush=True)
