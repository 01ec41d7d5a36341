"""Every test of the running relay runs on both async libraries; a test that needs other programs is marked `system`."""

from __future__ import annotations

import gc
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from relay.loop.readiness.kqueue import KqueueReadiness
from relay.loop.readiness.tasks import TaskReadiness
from support import kqueue

BACKENDS = ("asyncio", "trio")
SYSTEM_FOLDERS = frozenset({"cli", "demo", "examples", "foreign", "limits", "plugin", "quirks"})
"""What all of these tests need is other programs, packet captures, namespaces, crowds or whole seconds."""

# On a busy one an example may take 0.3 s.
settings.register_profile("any host", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any host")

_TESTS = Path(__file__).parent
_PROGRAM_EVENTS = frozenset({"subprocess.Popen", "os.fork", "os.posix_spawn"})  # as the interpreter audits them
_programs_forbidden = False


def _watch_for_programs(event: str, arguments: tuple[object, ...]) -> None:
    if _programs_forbidden and event in _PROGRAM_EVENTS:
        raise RuntimeError(f"{event}: a test that starts a program is marked with @pytest.mark.system")


sys.addaudithook(_watch_for_programs)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the folders that are `system` as a whole unread where none of their tests is wanted."""
    return True if config.option.markexpr == "not system" and _is_system(collection_path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in those folders."""
    for item in items:
        if _is_system(item.path):
            item.add_marker(pytest.mark.system)


def _is_system(path: Path) -> bool:
    return not SYSTEM_FOLDERS.isdisjoint(path.relative_to(_TESTS).parts)


def pytest_collection_finish() -> None:
    """Keep what was collected out of the garbage collector's way: going through it takes 2 s of CPU time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Undo that."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _programs_are_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that starts a program without saying so by its marker."""
    global _programs_forbidden  # noqa: PLW0603 - an audit hook cannot be taken back
    _programs_forbidden = request.node.get_closest_marker("system") is None
    yield
    _programs_forbidden = False


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The async library that the relay under test runs on."""
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(backend: str) -> str:
    """The same for tests that are async themselves."""
    return backend


@pytest.fixture
def with_kqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a kqueue, this host's own or one that is made of epolls."""
    if not hasattr(select, "kqueue"):
        for name, value in kqueue.NAMES.items():
            monkeypatch.setattr(select, name, value, raising=False)


@pytest.fixture(params=["epoll", "kqueue", "tasks"])
def readiness(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, with_kqueue: None) -> str:
    """How the relay waits for its sockets: this host's own way, and those of other hosts."""
    name: str = request.param
    if name == "kqueue":
        monkeypatch.setattr("relay.loop.engine.open_readiness", lambda _, on_fault: KqueueReadiness(on_fault))
    elif name == "tasks":
        monkeypatch.setattr("relay.loop.engine.open_readiness", TaskReadiness)
    return name
