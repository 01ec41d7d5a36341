"""The part of the plugin that every run of pytest imports where the relay is installed: options, fixtures, hooks.

The build makes this a top-level module. It imports nothing of the package `relay`, for a project may have a `relay` of
its own: that name is taken when the first of these fixtures is set up, after collection, and not at all in a run that
uses none of them. Ours is then found also where another is ahead of it on `sys.path`, unless that one is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from relay.testing import RelayFactory, RunningRelay

_HERE = Path(__file__).parent
_FOLDER = _HERE.parents[1] if _HERE.name == "entry" else _HERE / "relay"
"""The package: in a checkout this module lies within it, else beside it."""
_MARKER = "nat_relay"
_CHOICES = {"nat_unsupported": ("fail", "skip"), "nat_faults": ("fail", "warn")}
_HOOKS = ("reporting", "fidelity", "faults")  # the later is called the earlier
_RUN_REPORT = "run_report"  # before `reporting`, which lets go of a test's relays
_SEED_FOR_WORKERS = "nat_seed"
_CURRENT = pytest.StashKey[pytest.Item]()
_USES_MARKER = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nat", "a relay that behaves like a hypervisor's NAT")
    group.addoption("--nat-profile", metavar="NAME", help="the NAT of tests that name none: a profile, or a TOML file")
    group.addoption("--nat-seed", metavar="N", type=int, help="repeat what was left to chance; a failing test tells N")
    group.addoption("--nat-report", metavar="FILE", type=Path, help="write every test's flows to one HTML file")
    parser.addini("nat_profile", "the NAT of tests that name none (default: vmware-fusion)")
    parser.addini(
        "nat_unsupported", "what happens to a test whose NAT this host cannot show: fail or skip", None, "fail"
    )
    parser.addini("nat_faults", "what happens to a test whose relay or behaviour breaks: fail or warn", None, "fail")


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
    for name, choices in _CHOICES.items():
        if config.getini(name) not in choices:
            raise pytest.UsageError(f"{name}: {config.getini(name)!r} is neither {' nor '.join(choices)}")
    if config.option.nat_profile is not None and not _is_shadowed():
        _plugin(config).check_profile(config)
    if config.option.nat_report is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_RunReport(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Have a worker of pytest-xdist use the same seed."""
    node.workerinput[_SEED_FOR_WORKERS] = node.config.option.nat_seed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with each of its marker's profiles; what is wrong with a marker ends its own test, when it begins."""
    if _MARKER not in metafunc.fixturenames:
        return
    marks = metafunc.definition.iter_markers(_MARKER)
    said = (value for mark in marks for value in (*mark.args[:1], mark.kwargs.get("profile")) if value is not None)
    if isinstance(profiles := next(said, None), list | tuple) and profiles:
        metafunc.parametrize(_MARKER, profiles, indirect=True, ids=_profile_id)


def _profile_id(profile: object) -> str | None:
    name = getattr(profile, "name", profile)
    return name if isinstance(name, str) else None


@pytest.fixture
def nat_relay(request: pytest.FixtureRequest) -> Iterator[RunningRelay]:
    """A relay of the test's own, with the profile and settings that its markers say: a relay.testing.RunningRelay."""
    request.node.stash[_USES_MARKER] = True
    with _plugin(request.config).serve_marked(request) as nat:
        yield nat


@pytest.fixture
def nat_relay_factory(request: pytest.FixtureRequest) -> Iterator[RelayFactory]:
    """Starts any number of relays for one test: nat_relay_factory("transparent", time_scale=100).

    It takes what the marker takes, and applies no marker. The relays stop when the test ends.
    """
    with _plugin(request.config).factory(request) as start:
        yield start


@pytest.fixture(scope="session")
def nat_relay_session(request: pytest.FixtureRequest) -> Iterator[RunningRelay]:
    """One relay for all tests that use it, with the profile of the command line or the ini file; applies no marker."""
    with _plugin(request.config).serve_session(request.config.stash[_CURRENT]) as nat:
        yield nat


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """List what this host does not show exactly, where a test uses a relay."""
    used = any(name.startswith("nat_relay") for item in items for name in getattr(item, "fixturenames", ()))
    if not used or config.get_verbosity() < 0 or _is_shadowed():
        return []
    _plugin(config)
    lines: list[str] = importlib.import_module("relay.pytest_plugin.fidelity").header(items)
    return lines


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[_CURRENT] = item


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Warn of a marker that had no effect."""
    fixtures = getattr(item, "fixturenames", ())
    if _MARKER not in fixtures and _USES_MARKER not in item.stash and any(m.name == _MARKER for m in item.own_markers):
        text = "the marker nat_relay has no effect: the test does not use the fixture of that name"
        item.warn(pytest.PytestWarning(text))


class _RunReport:
    """Keeps what tests' reports carry for `--nat-report`, and has it written in the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._path = config.invocation_params.dir / config.option.nat_report
        self._found: list[str] = []
        self._outcomes: dict[str, str] = {}
        if not self._path.parent.is_dir():
            raise pytest.UsageError(f"--nat-report: there is no folder {self._path.parent}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if (found := getattr(report, "nat_report", None)) is not None:
            self._found.append(found)
        if report.when == "call" or not report.passed:
            failed = "failed" if report.when == "call" else "error"
            self._outcomes[report.nodeid] = failed if report.failed else report.outcome

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        _plugin(session.config)
        writer = importlib.import_module(f"relay.pytest_plugin.{_RUN_REPORT}")
        try:
            writer.write(self._path, f"pytest in {session.config.rootpath.name}", self._found, self._outcomes)
        except OSError as error:
            raise pytest.UsageError(f"--nat-report: cannot write {self._path}: {error.strerror}") from None

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(f"nat_relay: flows of {len(self._found)} tests are in {self._path}")


def _plugin(config: pytest.Config) -> Any:
    """The module that does what the fixtures are for."""
    _take_name()
    serving = importlib.import_module("relay.pytest_plugin.serving")
    for name in (*((_RUN_REPORT,) if config.option.nat_report is not None else ()), *_HOOKS):
        hooks = importlib.import_module(f"relay.pytest_plugin.{name}")
        if not config.pluginmanager.is_registered(hooks):
            config.pluginmanager.register(hooks)
    return serving


def _take_name() -> None:
    """Have `relay` be ours.

    Raises:
        pytest.fail.Exception: it is another's, and imported.
    """
    __tracebackhide__ = True
    if "relay" in sys.modules:
        other = sys.modules["relay"]
        if not _is_ours(getattr(other, "__path__", ())):
            where = getattr(other, "__file__", None) or ", ".join(getattr(other, "__path__", ["built in"]))
            pytest.fail(
                f"nat_relay: `relay` is {where} here, which was imported and shadows the package of vmnat-relay\n"
                "hint: rename it; or keep tests that import it out of the runs that use nat_relay",
                pytrace=False,
            )
    elif _is_shadowed():
        sys.path.insert(0, str(_FOLDER.parent))
        try:
            importlib.import_module("relay")
        finally:
            sys.path.remove(str(_FOLDER.parent))


def _is_shadowed() -> bool:
    """Whether `import relay` gives, or would give, another package."""
    try:
        spec = importlib.util.find_spec("relay")
    except ValueError:  # a module without a spec was put there by hand
        spec = None
    return spec is None or not _is_ours(spec.submodule_search_locations or ())


def _is_ours(folders: Iterable[str]) -> bool:
    """Whether a package with these folders is the relay, this copy or another."""
    return any((Path(folder) / "profiles" / "transparent.toml").is_file() for folder in folders)
