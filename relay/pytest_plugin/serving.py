"""What the fixtures do: relays with the NAT that a test's markers, the command line or the ini file ask for."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay import defaults
from relay.config import RelayConfig, options
from relay.control import LiftFault, ListFaults
from relay.errors import ConfigError, RelayError, Unsupported
from relay.events import Side
from relay.handles import RelayFactory, RunningRelay, run_in_thread, serve_in_thread
from relay.log import EventType, Record
from relay.observe.providers.in_process import watching
from relay.profiles import Profile, load_profile
from relay.pytest_plugin.marker import Wanted, read_markers

_SESSION_FIXTURE = "nat_relay_session"
FIXTURES = frozenset({"nat_relay", "nat_relay_factory", _SESSION_FIXTURE})


@dataclass
class Served:
    """A relay that a test uses, or used."""

    relay: RunningRelay
    profile: str
    first: int = 0
    """How many records there were before the test."""
    checked: int = 0
    """How many of them `new_faults` has looked at."""

    def new_faults(self) -> list[Record]:
        """What has broken inside the relay or a behaviour since this was called last."""
        self.relay.await_records()
        unchecked = self.relay.events[max(self.first, self.checked) :]
        self.checked = max(self.first, self.checked) + len(unchecked)
        return [each for each in unchecked if each.event == EventType.FAULT and each.fields["traceback"] is not None]


_, *_OPTIONS = inspect.signature(RelayFactory.__call__).parameters.values()
_SERVE_DOC = inspect.getdoc(serve_in_thread) or ""

SERVED = pytest.StashKey[list[Served]]()
_SHARED = pytest.StashKey[Served]()


@contextmanager
def serve_marked(request: pytest.FixtureRequest) -> Iterator[RunningRelay]:
    """The relay that a test's markers say, with the one of several profiles whose turn it is."""
    wanted = _wanted_by(request.node)
    if isinstance(wanted, ValueError):  # said here, and not there: pytest would show the chain of exceptions
        pytest.fail(f"nat_relay marker of {request.node.nodeid}: {wanted}", pytrace=False)
    if hasattr(request, "param"):
        wanted.profile = request.param
    with _serve(request.node, wanted) as relay:
        yield relay


def _wanted_by(item: pytest.Item) -> Wanted | ValueError:
    try:
        return read_markers(item)
    except ValueError as error:
        return error


@contextmanager
def factory(request: pytest.FixtureRequest) -> Iterator[RelayFactory]:
    """What starts relays, which stop when the test ends."""
    with ExitStack() as stack:

        def start(profile: Any = None, **keywords: Any) -> RunningRelay:
            wanted = Wanted(profile)
            wanted.lay(keywords)
            return stack.enter_context(_serve(request.node, wanted))

        vars(start)["__signature__"] = inspect.Signature(_OPTIONS)  # what `help` and a REPL show
        start.__doc__ = f"Start a relay that stops when the test ends.\n{_SERVE_DOC.partition(chr(10))[2]}"
        yield start


@contextmanager
def serve_session(current: pytest.Item) -> Iterator[RunningRelay]:
    """A relay for the test that runs now and all that come after it."""
    with _serve(current, Wanted(), shared=True) as relay:
        yield relay


def note_shared(item: pytest.Item) -> None:
    """Begin a test that uses the relay of an earlier one, which that has left frozen, or with faults."""
    shared = item.config.stash.get(_SHARED, None)
    if shared is not None and _SESSION_FIXTURE in getattr(item, "fixturenames", ()):
        for side in Side:
            shared.relay.thaw(side)
        for left in shared.relay.do(ListFaults()):
            shared.relay.do(LiftFault(left.name, left.forward))
        shared.relay.seed = _seed(item, 0)
        item.stash.setdefault(SERVED, []).append(Served(shared.relay, shared.profile, len(shared.relay.events)))


def check_profile(config: pytest.Config) -> None:
    """Insist on the profile that the command line names.

    Raises:
        pytest.UsageError: there is none, or it cannot be read.
    """
    try:
        load_profile(_default_profile(config))
    except ConfigError as error:
        raise pytest.UsageError(f"--nat-profile: {_in_full(error)}") from None


@contextmanager
def _serve(item: pytest.Item, wanted: Wanted, *, shared: bool = False) -> Iterator[RunningRelay]:
    """A relay for a test, or, `shared`, for it and all that come after it."""
    served = item.stash.setdefault(SERVED, [])
    life = "the session is over" if shared else f"{item.nodeid}, which it was started for, has ended"
    with ExitStack() as stack:
        started = _start(stack, item, wanted, seed=_seed(item, len(served)), over=f"the relay has stopped: {life}")
        if isinstance(started, RelayError):  # said here, and not there: pytest would show the chain of exceptions
            if isinstance(started, Unsupported) and item.config.getini("nat_unsupported") == "skip":
                pytest.skip(f"nat_relay: {_in_full(started)}")
            pytest.fail(f"nat_relay: {_in_full(started)}", pytrace=False)
        served.append(started)
        if shared:
            item.config.stash[_SHARED] = started
            stack.callback(item.config.stash.__delitem__, _SHARED)
        yield started.relay


def _start(
    stack: ExitStack, item: pytest.Item, wanted: Wanted, *, seed: int, over: str
) -> Served | ConfigError | Unsupported:
    """Start a relay that stops with the stack, or tell what keeps it from that."""
    try:
        config = configured(item, wanted, seed=seed)
        stack.enter_context(watching())
        return Served(stack.enter_context(run_in_thread(config, wanted.backend, over=over)), config.profile.name)
    except (ConfigError, Unsupported) as error:
        return error


def configured(item: pytest.Item, wanted: Wanted, *, seed: int) -> RelayConfig:
    """Check what a test asks for, and put it together.

    Raises:
        ConfigError: something in it is wrong.
    """
    profile = wanted.profile if wanted.profile is not None else _default_profile(item.config)
    if isinstance(profile, str):
        profile = _locate(profile, item.config.rootpath)
    elif not isinstance(profile, Profile):
        hint = "give a profile's name, or the path of a TOML file; a list is for the marker of a test function"
        raise ConfigError(f"{profile!r} is no profile", hint=hint)
    return options.configured(profile, wanted.listen, {"strict": True, "seed": seed, **wanted.keywords})


def _default_profile(config: pytest.Config) -> str:
    if config.option.nat_profile is not None:
        return _locate(config.option.nat_profile, config.invocation_params.dir)
    return config.getini("nat_profile") or defaults.PROFILE


def _locate(profile: str, directory: Path) -> str:
    """A profile's name as it is, a path as one from anywhere."""
    is_path = "/" in profile or "\\" in profile or profile.endswith(".toml")
    return str(directory / profile) if is_path else profile


def _seed(item: pytest.Item, number: int) -> int:
    """The seed of a test's relay number `number`: the same wherever and after whatever the test runs."""
    text = f"{item.config.option.nat_seed}/{item.nodeid}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _in_full(error: RelayError) -> str:
    message = str(error).removeprefix("profile: ").removeprefix("strict: ")
    return f"{message}\nhint: {error.hint}" if error.hint else message
