"""A command starts at once, for it imports what it needs and nothing else (`python -m bench` has the times)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.programs import RELAY, clean_environment, serve

_LIGHT = ("relay", "relay.__main__", "relay.debug", "relay.defaults", "relay.errors", "relay.printable")
"""What a command of the command line may import of the relay before it knows what to do; and `relay.cli`."""
_HEAVY = {"pydantic", "rich", "anyio", "asyncio", "trio", "uvloop", "multiprocessing", "unittest"}


def imported(stderr: str) -> set[str]:
    """The modules that an interpreter lists with `-X importtime`."""
    lines = [line for line in stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def imported_by(*arguments: str, **env: str) -> set[str]:
    done = subprocess.run(
        [*RELAY, *arguments],
        env=clean_environment(PYTHONPROFILEIMPORTTIME="1", **env),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return imported(done.stderr)


@pytest.mark.parametrize("arguments", ["--version", "--help", "-h", "serve --help", "explain -h", "doctor --help"])
def test_help_and_version_import_nothing_of_what_serves(arguments: str) -> None:
    found = imported_by(*arguments.split())
    assert found & _HEAVY == set()
    assert {name for name in found if name.startswith("relay") and not name.startswith("relay.cli")} <= set(_LIGHT)
    assert {name for name in found if name.startswith(("relay.cli.reports", "relay.cli.serving"))} == set()


def test_serve_imports_its_own_backend_alone_and_no_more_than_it_uses(backend: str, tmp_path: Path) -> None:
    other = {"asyncio": "trio", "trio": "asyncio"}[backend]
    with serve(tmp_path, "--backend", backend, PYTHONPROFILEIMPORTTIME="1") as served:
        found = imported(served.wait_for_stderr("link-down-reset"))
    assert found >= {"relay.server", backend}
    assert found & (_HEAVY - {"anyio", backend}) == set(), f"{other} is not needed on {backend}"
    unused = ("relay.workers", "relay.wire", "relay.demo", "relay.testing", "relay.pytest_plugin")
    assert {name for name in found if name.startswith(unused)} == set()


def test_a_flags_environment_variable_is_read_without_pydantic() -> None:
    assert imported_by("profiles", RELAY_JSON="false") & {"pydantic", "rich"} == set()
