"""apt and pip behind the NAT: each fetches an index and a package from a mirror on this host."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.behind_nat import BACKENDS, HOST, run_inside
from support.capabilities import need_program
from support.mirror import NAME, SAID, VERSION, debian_repository, python_index, served
from support.programs import run

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

UPDATE_AND_DOWNLOAD = 'apt-get "$@" update && cd "$DIRECTORY" && apt-get "$@" download "$PACKAGE"'


def apt_options(directory: Path, source: str) -> list[str]:
    """What makes apt use this source and nothing of the host's own."""
    for name in ("state/lists/partial", "cache/archives/partial", "parts"):
        (directory / name).mkdir(parents=True)
    (directory / "status").touch()
    (directory / "sources.list").write_text(source)
    settings = {
        "Dir::State": directory / "state",
        "Dir::State::status": directory / "status",
        "Dir::Cache": directory / "cache",
        "Dir::Etc::SourceList": directory / "sources.list",
        "Dir::Etc::SourceParts": directory / "parts",
        "Acquire::http::Proxy": "DIRECT",
        "APT::Sandbox::User": "root",  # else it is a user who may not enter a test's directory
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


@pytest.mark.parametrize("backend", BACKENDS)
def test_apt_updates_its_lists_and_downloads_a_package(tmp_path: Path, backend: str) -> None:
    need_program("apt-get")
    mirror, here = tmp_path / "mirror", tmp_path / "here"
    mirror.mkdir()
    here.mkdir()
    debian_repository(mirror)
    with served(mirror) as port:
        options = apt_options(tmp_path, f"deb [trusted=yes] http://deb.test:{port}/ ./\n")
        words = ["env", f"DIRECTORY={here}", f"PACKAGE={NAME}", "sh", "-c", UPDATE_AND_DOWNLOAD, "sh", *options]
        done, events = run_inside(tmp_path, words, "--backend", backend, "--resolve", f"deb.test:{port}:127.0.0.1")
    assert done.returncode == 0, done.stdout + done.stderr
    file = here / f"{NAME}_{VERSION}_all.deb"
    assert file.read_bytes() == (mirror / file.name).read_bytes()
    destinations = {each["destination"] for each in events if each["event"] == "flow-ended"}
    assert destinations == {f"127.0.0.1:{port}"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_pip_installs_a_package(tmp_path: Path, backend: str) -> None:
    mirror, target = tmp_path / "mirror", tmp_path / "target"
    python_index(mirror)
    with served(mirror) as port:
        options = ("--index-url", f"http://{HOST}:{port}/simple/", "--trusted-host", HOST, "--proxy", "")
        quiet = (
            "--quiet",
            "--disable-pip-version-check",
            "--no-cache-dir",
            "--no-compile",
            "--root-user-action=ignore",
        )
        words = [sys.executable, "-m", "pip", "install", *quiet, *options, "--target", str(target), NAME]
        done, _ = run_inside(tmp_path, ["env", "PIP_CONFIG_FILE=/dev/null", *words], "--backend", backend)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    imported = run(
        sys.executable, "-c", f"import sys; sys.path.insert(0, {str(target)!r}); import {NAME}; print({NAME}.SAID)"
    )
    assert (imported.returncode, imported.stdout) == (0, f"{SAID}\n"), imported.stderr
