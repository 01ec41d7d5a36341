"""docs/Dockerfile and docs/vmnat-relay.service: what shows without a Docker daemon and without systemd as pid 1."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import sys
from pathlib import Path

import pytest

from relay.observe.kernel.privileges import Capability
from support.capabilities import need_program
from support.programs import RELAY, clean_environment, run, serve

DOCS = Path(__file__).parents[2] / "docs"
UNIT = DOCS / "vmnat-relay.service"
CAPABILITIES = {f"CAP_{each.name}" for each in (Capability.BPF, Capability.NET_ADMIN)}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, in order."""
    lines = (DOCS / "Dockerfile").read_text().splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line and not line.startswith("#")]


def variables() -> dict[str, str]:
    return dict(text.split("=", 1) for kind, text in instructions() if kind == "ENV")


@pytest.mark.system
def test_what_the_image_copies_can_be_installed(tmp_path: Path) -> None:
    for kind, text in instructions():
        if kind == "COPY" and not text.startswith("--from"):
            *sources, target = text.split()
            for source in sources:
                found = DOCS.parent / source
                if found.is_dir():
                    shutil.copytree(found, tmp_path / target.strip("/"), ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    (tmp_path / target.strip("/")).mkdir(parents=True, exist_ok=True)
                    shutil.copy(found, tmp_path / target.strip("/"))
    (installing,) = (text for kind, text in instructions() if kind == "RUN")
    assert "'/source[uvloop]'" in installing
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    installed = tmp_path / "installed"
    source = str(tmp_path / "source")
    done = run(sys.executable, "-m", "pip", "install", *options, "--target", str(installed), source, timeout_s=100)
    assert done.returncode == 0, done.stderr
    told = run(
        sys.executable, "-m", "relay", "profiles", env=clean_environment(PYTHONPATH=str(installed)), cwd=tmp_path
    )
    assert "vmware-fusion" in told.stdout, told.stderr


@pytest.mark.system
def test_the_images_command_serves_all_who_reach_it_and_wants_to_be_asked_for_that(tmp_path: Path) -> None:
    (entry,) = (json.loads(text) for kind, text in instructions() if kind == "ENTRYPOINT")
    (command,) = (json.loads(text) for kind, text in instructions() if kind == "CMD")
    assert [*entry, *command] == ["relay", "serve"]
    host, port = variables()["RELAY_LISTEN"].split(":")
    assert {"EXPOSE": port}.items() <= dict(instructions()).items()
    refused = run(*RELAY, "serve", env=clean_environment(RELAY_LISTEN=f"{host}:0"))
    assert refused.returncode == 2
    assert "without authentication" in refused.stderr
    with serve(tmp_path, "--listen", f"{host}:0", RELAY_ALLOW_OPEN="true") as nat:
        socket.create_connection(("127.0.0.2", nat.port)).close()


@pytest.mark.system
def test_systemd_takes_the_unit_and_would_find_a_mistake_in_it(tmp_path: Path) -> None:
    analyze = need_program("systemd-analyze")
    text = UNIT.read_text().replace("/opt/vmnat-relay/bin/relay", RELAY[0])
    for name, content, complaint in (
        ("good.service", text, ""),
        ("bad.service", text.replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"), "NoNewPrivilege"),
    ):
        (tmp_path / name).write_text(content)
        done = run(analyze, "verify", str(tmp_path / name))
        assert (complaint in done.stderr) if complaint else (done.returncode, done.stderr) == (0, "")


def test_the_unit_gives_the_two_capabilities_and_no_others() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    assert set(settings["AmbientCapabilities"].split()) == CAPABILITIES
    assert set(settings["CapabilityBoundingSet"].split()) == CAPABILITIES
    assert settings["NoNewPrivileges"] == "yes"
    assert "User=root" not in UNIT.read_text()


@pytest.mark.system
def test_the_units_command_works_within_its_restrictions(tmp_path: Path) -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    program, *arguments = shlex.split(settings["ExecStart"])
    assert (Path(program).name, arguments) == ("relay", ["serve"])
    given = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in settings["AmbientCapabilities"].split())
    may_read = "dac_read_search"  # the interpreter, which may be in a home
    prefix = (
        need_program("setpriv"),
        *("--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={given},+{may_read}", f"--ambient-caps={given},+{may_read}"),
        f"--bounding-set=-all,{given},+{may_read}",
    )
    done = run(*prefix, *RELAY, "doctor")
    assert re.search(r"TOS byte\n  exact ", done.stdout), done.stdout + done.stderr
