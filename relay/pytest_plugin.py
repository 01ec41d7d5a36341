"""The pytest plugin: a NAT between a test's client and its server.

    def test_my_client_survives(nat_relay):
        host, port = nat_relay.forward(*my_server)       # or nat_relay.socks_url, .http_url, .env
        ...
        nat_relay.wait_for("flow-ended", because="tos-reset")

The marker chooses the NAT (`relay.marker` documents it), else `--nat-profile`, else `nat_profile` in the ini file. The
relay runs in a thread and an event loop of its own, so tests may be synchronous or run on any async library. A quirk of
the profile that this host cannot show fails the test, unless the ini file says `nat_unsupported = skip`. A failing
test's report has the relay's event log, and the command that repeats what was left to chance: all that follows from
`--nat-seed` and the test's own id, on however many workers the tests run.

Where the relay is installed, every run of pytest imports this module: it imports the rest of it when it is used.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.marker import MARKER, Wanted, profile_id, read_markers

if TYPE_CHECKING:
    from relay.config import RelayConfig
    from relay.testing import RunningRelay

SECTION = "nat_relay event log"
"""What the event log is called in a failing test's report."""

_DEFAULT_PROFILE = "vmware-fusion"
_SESSION_FIXTURE = "nat_relay_session"
_SEED_FOR_WORKERS = "nat_seed"
_MAX_LINES = 200  # of one relay's log in a report


@dataclass
class _Served:
    """A relay that a test uses, or used."""

    relay: RunningRelay
    profile: str
    first: int = 0
    """How many records there were before the test."""


_SERVED = pytest.StashKey[list[_Served]]()
_SHARED = pytest.StashKey[_Served]()
_CURRENT = pytest.StashKey[pytest.Item]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nat", "a relay that behaves like a hypervisor's NAT")
    group.addoption("--nat-profile", metavar="NAME", help="the NAT of tests that name none: a profile, or a TOML file")
    group.addoption("--nat-seed", metavar="N", type=int, help="repeat what was left to chance; a failing test tells N")
    parser.addini("nat_profile", f"the NAT of tests that name none (default: {_DEFAULT_PROFILE})")
    parser.addini(
        "nat_unsupported", "what happens to a test whose NAT this host cannot show: fail or skip", None, "fail"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "nat_relay(profile, *, BEHAVIOUR={SETTING: VALUE}, OPTION=VALUE): the NAT that the fixture nat_relay gives; "
        "a list of profiles runs the test with each.",
    )
    if hasattr(config, "workerinput"):
        config.option.nat_seed = config.workerinput[_SEED_FOR_WORKERS]
    elif config.option.nat_seed is None:
        config.option.nat_seed = int.from_bytes(os.urandom(4), "big")
    if config.getini("nat_unsupported") not in {"fail", "skip"}:
        raise pytest.UsageError(f"nat_unsupported: {config.getini('nat_unsupported')!r} is neither fail nor skip")
    if config.option.nat_profile is not None:
        _check_profile(_default_profile(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Have a worker of pytest-xdist use the same seed."""
    node.workerinput[_SEED_FOR_WORKERS] = node.config.option.nat_seed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if MARKER in metafunc.fixturenames:
        profile = _read_markers(metafunc.definition).profile
        if isinstance(profile, list | tuple):
            metafunc.parametrize(MARKER, profile, indirect=True, ids=profile_id)


@pytest.fixture
def nat_relay(request: pytest.FixtureRequest) -> Iterator[RunningRelay]:
    """A relay of the test's own, with the profile and settings that its markers say: a relay.testing.RunningRelay."""
    wanted = _read_markers(request.node)
    if hasattr(request, "param"):
        wanted.profile = request.param
    with _serve(request.node, wanted) as relay:
        yield relay


@pytest.fixture
def nat_relay_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., RunningRelay]]:
    """Starts any number of relays for one test: nat_relay_factory("transparent", time_scale=100).

    It takes what the marker takes, and heeds no marker. The relays stop when the test ends.
    """
    with ExitStack() as stack:

        def start(profile: Any = None, **keywords: Any) -> RunningRelay:
            wanted = Wanted(profile)
            wanted.lay(keywords)
            return stack.enter_context(_serve(request.node, wanted))

        yield start


@pytest.fixture(scope="session")
def nat_relay_session(request: pytest.FixtureRequest) -> Iterator[RunningRelay]:
    """One relay for all tests that use it, with the profile of the command line or the ini file; heeds no marker."""
    current = request.config.stash[_CURRENT]
    with _serve(current, Wanted(), shared=True) as relay:
        yield relay


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[_CURRENT] = item
    shared = item.config.stash.get(_SHARED, None)
    if shared is not None and _SESSION_FIXTURE in _fixture_names(item):
        shared.relay.seed = _seed(item, 0)
        item.stash.setdefault(_SERVED, []).append(_Served(shared.relay, shared.profile, len(shared.relay.events)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    served = item.stash.get(_SERVED, None)
    if served and report.failed:
        report.sections.append((SECTION, "\n\n".join([*map(_told, served), _repeat_line(item)])))
    if served and call.when == "teardown":
        served.clear()  # pytest keeps every item to the end of the run, and a relay has 300 KiB
    return report


@contextmanager
def _serve(item: pytest.Item, wanted: Wanted, *, shared: bool = False) -> Iterator[RunningRelay]:
    """A relay for a test, or, `shared`, for it and all that come after it."""
    from relay.errors import ConfigError, Unsupported  # noqa: PLC0415
    from relay.observe.providers.in_process import watching  # noqa: PLC0415
    from relay.testing import run_in_thread  # noqa: PLC0415

    served = item.stash.setdefault(_SERVED, [])
    life = "the session is over" if shared else f"{item.nodeid}, which it was started for, has ended"
    with ExitStack() as stack:
        relay, trouble = None, None
        try:
            config = _configured(item, wanted, seed=_seed(item, len(served)))
            stack.enter_context(watching())
            relay = stack.enter_context(run_in_thread(config, wanted.backend, over=f"the relay has stopped: {life}"))
        except (ConfigError, Unsupported) as error:
            trouble = error
        if relay is None:  # said here, and not above: pytest would show the whole chain of exceptions
            if isinstance(trouble, Unsupported) and item.config.getini("nat_unsupported") == "skip":
                pytest.skip(f"nat_relay: {_in_full(trouble)}")
            pytest.fail(f"nat_relay: {_in_full(trouble)}", pytrace=False)
        served.append(_Served(relay, config.profile.name))
        if shared:
            item.config.stash[_SHARED] = served[-1]
            stack.callback(item.config.stash.__delitem__, _SHARED)
        yield relay


def _configured(item: pytest.Item, wanted: Wanted, *, seed: int) -> RelayConfig:
    from relay.config import options  # noqa: PLC0415
    from relay.errors import ConfigError  # noqa: PLC0415
    from relay.profiles import Profile  # noqa: PLC0415

    profile = wanted.profile if wanted.profile is not None else _default_profile(item.config)
    if isinstance(profile, str):
        profile = _locate(profile, item.config.rootpath)
    elif not isinstance(profile, Profile):
        hint = "give a profile's name, or the path of a TOML file; a list is for the marker of a test function"
        raise ConfigError(f"{profile!r} is no profile", hint=hint)
    told = options.from_keywords({"strict": True, "seed": seed, **wanted.keywords})
    try:
        return options.configured(profile, wanted.listen, told)
    except TypeError as error:
        given = ", ".join(f"{name}={value!r}" for name, value in wanted.keywords.items())
        raise ConfigError(f"an option is of the wrong type: {error}", hint=f"given were {given}") from error


def _default_profile(config: pytest.Config) -> str:
    if config.option.nat_profile is not None:
        return _locate(config.option.nat_profile, config.invocation_params.dir)
    return config.getini("nat_profile") or _DEFAULT_PROFILE


def _locate(profile: str, directory: Path) -> str:
    """A profile's name as it is, a path as one from anywhere."""
    is_path = "/" in profile or "\\" in profile or profile.endswith(".toml")
    return str(directory / profile) if is_path else profile


def _check_profile(profile: str) -> None:
    from relay.errors import ConfigError  # noqa: PLC0415
    from relay.profiles import load_profile  # noqa: PLC0415

    try:
        load_profile(profile)
    except ConfigError as error:
        raise pytest.UsageError(f"--nat-profile: {_in_full(error)}") from None


def _read_markers(node: Any) -> Wanted:
    __tracebackhide__ = True
    try:
        return read_markers(node)
    except ValueError as error:
        pytest.fail(f"nat_relay marker of {node.nodeid}: {error}", pytrace=False)


def _seed(item: pytest.Item, number: int) -> int:
    """The seed of a test's relay number `number`: the same wherever and after whatever the test runs."""
    import hashlib  # noqa: PLC0415

    text = f"{item.config.option.nat_seed}/{item.nodeid}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _told(served: _Served) -> str:
    """One relay's log for a report, with its end if it is long."""
    relay = served.relay
    lines = relay.log_text(since=served.first).splitlines()
    left_out = len(lines) - _MAX_LINES
    if left_out > 0:
        lines[:left_out] = [f"  ... {left_out} earlier records; nat_relay.events has them"]
    return "\n".join([f"{served.profile}, seed {relay.seed} of this relay alone (--nat-seed is the run's):", *lines])


def _repeat_line(item: pytest.Item) -> str:
    named = f'"{item.nodeid}"' if not set('"$`\\!') & set(item.nodeid) else shlex.quote(item.nodeid)
    profile = item.config.option.nat_profile
    chosen = f" --nat-profile {shlex.quote(profile)}" if profile is not None else ""
    return f"repeat with: pytest {named} --nat-seed {item.config.option.nat_seed}{chosen}"


def _fixture_names(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _in_full(error: Any) -> str:
    message = str(error).removeprefix("profile: ").removeprefix("--strict: ")
    return f"{message}\nhint: {error.hint}" if error.hint else message
