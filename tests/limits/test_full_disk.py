"""An event log that can no longer be written costs a line on stderr, and no flow anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.capabilities import missing, need_program, need_root
from support.masses import Steady, mass_clients, mass_origin
from support.programs import serve

_FLOWS = 100


def small_disk(directory: Path) -> tuple[str, ...]:
    """The command that runs another with a disk of 64 KiB at `directory`, that no other process sees."""
    need_root()
    mount = f'mount -t tmpfs -o size=64k tmpfs "{directory}" && exec "$@"'
    return (need_program("unshare"), "--mount", "sh", "-c", mount, "sh")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_disk_that_fills_up_under_load_ends_no_flow_and_is_reported_once(
    quiet: bool, backend: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ("--events", f"{disk}/events", *(("--quiet",) if quiet else ()))
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, *options, prefix=small_disk(disk)) as served,
        mass_clients(served.port, port) as clients,
    ):

        def fill_the_disk() -> None:
            assert clients.do(f"open {_FLOWS}") == {"granted": _FLOWS}
            assert clients.do("load") == {"echoed": _FLOWS}
            assert clients.do("end") == {"whole": _FLOWS}

        Steady(served, port).check(fill_the_disk)
        told = [line for line in served.stderr().splitlines() if line.startswith("relay:")]
        assert told == [f"relay: --events: cannot write {disk}/events any more: No space left on device"]
        assert ("asks for" in served.stderr()) is not quiet


@pytest.mark.parametrize("quiet", [False, True])
def test_a_disk_that_is_full_from_the_start_is_reported_too(quiet: bool, backend: str, tmp_path: Path) -> None:
    if sys.platform != "linux":
        missing("needs /dev/full")
    options = ("--events", "/dev/full", *(("--quiet",) if quiet else ()))
    with mass_origin() as (_, port), serve(tmp_path, "--backend", backend, *options) as served:
        served.wait_for_stderr("relay: --events: cannot write /dev/full any more: No space left on device\nhint: ")
        Steady(served, port).check(lambda: None)
