"""docs/Dockerfile and docs/vmnat-relay.service: what shows without a Docker daemon and without systemd as pid 1."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from relay.observe.kernel.privileges import Capability
from support.capabilities import need_program
from support.forks import relay_in_fork
from support.programs import RELAY, clean_environment, run, serve

DOCS = Path(__file__).parents[2] / "docs"
UNIT = DOCS / "vmnat-relay.service"
CAPABILITIES = {f"CAP_{each.name}" for each in (Capability.BPF, Capability.NET_ADMIN)}


IMAGES = ("relay", "toxiproxy")
"""The stages of the Dockerfile that are images to run; the last stage is what it makes without `--target`."""


def stages() -> dict[str, list[tuple[str, str]]]:
    """The Dockerfile's instructions by stage, in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in (DOCS / "Dockerfile").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        kind, text = line.split(" ", 1)
        if kind == "FROM":
            found[text.rpartition(" AS ")[2]] = []
        list(found.values())[-1].append((kind, text))
    return found


def of_image(name: str) -> dict[str, str]:
    """An image's instructions by kind, without those of the stage that it builds on."""
    return dict(stages()[name])


def variables(name: str) -> dict[str, str]:
    return dict(text.split("=", 1) for kind, text in stages()[name] if kind == "ENV")


def test_what_is_copied_exists_and_each_stage_builds_on_one_that_stands_before_it() -> None:
    assert list(stages())[-1] == "relay"
    before: list[str] = []
    for name, instructions in stages().items():
        base = instructions[0][1].partition(" AS ")[0]
        assert base in before or base.startswith("python:")
        for text in (text for kind, text in instructions if kind == "COPY"):
            *sources, _ = text.split()
            if sources[0].startswith("--from="):
                assert sources.pop(0).removeprefix("--from=") in before
            else:
                assert [source for source in sources if not (DOCS.parent / source).exists()] == []
        before.append(name)


@pytest.mark.parametrize("image", IMAGES)
def test_an_images_command_is_an_installed_script_that_takes_its_options_and_variables(image: str) -> None:
    entry, command = (json.loads(of_image(image)[kind]) for kind in ("ENTRYPOINT", "CMD"))
    scripts = [each.name for each in entry_points(group="console_scripts") if each.value == "relay.__main__:main"]
    assert scripts == [entry[0]]
    asked = "-version" if image == "toxiproxy" else "--help"
    done = relay_in_fork(
        *entry[1:], *command, asked, **{name: text.strip('"') for name, text in variables(image).items()}
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = relay_in_fork(*entry[1:], *[each for each in command if not each.startswith("-")], "--help").stdout
    for name in variables(image):
        assert f"--{name.removeprefix('RELAY_').replace('_', '-').lower()}" in told


def test_the_image_in_toxiproxys_place_keeps_its_conventions() -> None:
    image = of_image("toxiproxy")
    assert image["EXPOSE"] == "8474 8666-8697"
    assert (json.loads(image["ENTRYPOINT"]), json.loads(image["CMD"])) == (["relay", "toxiproxy"], ["-host=0.0.0.0"])
    names = variables("toxiproxy")["RELAY_CONTROL_HOST"].strip('"').split()
    assert names[0] == "toxiproxy"


@pytest.mark.system
def test_what_the_image_copies_can_be_installed(tmp_path: Path) -> None:
    for kind, text in stages()["build"]:
        if kind == "COPY" and not text.startswith("--from"):
            *sources, target = text.split()
            for source in sources:
                found = DOCS.parent / source
                if found.is_dir():
                    shutil.copytree(found, tmp_path / target.strip("/"), ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    (tmp_path / target.strip("/")).mkdir(parents=True, exist_ok=True)
                    shutil.copy(found, tmp_path / target.strip("/"))
    (installing,) = (text for kind, text in stages()["build"] if kind == "RUN")
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
    image = of_image("relay")
    assert [*json.loads(image["ENTRYPOINT"]), *json.loads(image["CMD"])] == ["relay", "serve"]
    host, port = variables("relay")["RELAY_LISTEN"].split(":")
    assert image["EXPOSE"] == port
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
