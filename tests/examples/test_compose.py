"""docker-compose.yml: what can be checked without a Docker daemon, and what the relay and curl make of their parts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.capabilities import need_program
from support.examples import EXAMPLES
from support.origins import Origin
from support.programs import clean_environment, relay, run, serve
from support.web import web

FILE = EXAMPLES / "docker-compose.yml"
KEYS: Mapping[str, type | tuple[type, ...]] = {
    "cap_add": list,
    "command": list,
    "depends_on": dict,
    "environment": dict,
    "healthcheck": dict,
    "image": str,
    "network_mode": str,
    "stop_grace_period": str,
    "volumes": list,
}
"""The words of the Compose specification that the file makes use of, and what they take."""
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
Services = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def services() -> Services:
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert set(content) == {"services"}
    found: Services = content["services"]
    return found


def as_in_compose(services: Services) -> list[str]:
    """The command that runs another in the environment of the relay's service."""
    return ["env", *(f"{name}={value}" for name, value in services["relay"]["environment"].items())]


def test_every_key_is_one_of_composes_and_has_the_right_type(services: Services) -> None:
    assert set(services) == {"relay", "app", "server"}
    for service in services.values():
        assert {key for key, value in service.items() if not isinstance(value, KEYS[key])} == set()
        assert "image" in service
        assert all(isinstance(value, str) for value in service.get("environment", {}).values())
        assert all(isinstance(word, str) for word in service.get("command", []))


def test_services_refer_to_services_that_there_are(services: Services) -> None:
    app = services["app"]
    assert app["network_mode"] == "service:relay"
    assert set(app["depends_on"]) <= set(services)
    assert {each["condition"] for each in app["depends_on"].values()} <= CONDITIONS
    assert app["depends_on"]["relay"]["condition"] == "service_healthy"
    assert set(services["relay"]["healthcheck"]) == {"test", "interval", "retries"}


def test_the_relay_is_installed_from_this_project(services: Services) -> None:
    [volume] = services["relay"]["volumes"]
    source, target, mode = volume.split(":")
    assert ((EXAMPLES / source / "pyproject.toml").exists(), mode) == (True, "ro")
    assert services["relay"]["command"][-1] == f"pip install --quiet {target} && exec relay serve"


def test_every_variable_is_one_of_the_relays(services: Services) -> None:
    known = set(re.findall(r"RELAY_[A-Z_]+", relay("serve", "--help").stdout))
    assert set(services["relay"]["environment"]) <= known


def test_the_app_asks_the_sidecar_and_gets_its_page(services: Services, tmp_path: Path) -> None:
    need_program("curl")
    app = services["app"]
    assert app["environment"] == {"ALL_PROXY": f"socks5h://{services['relay']['environment']['RELAY_LISTEN']}"}
    *options, url = app["command"]
    assert url == f"http://server:{services['server']['command'][-1]}/"
    with (
        Origin(web()) as origin,
        serve(tmp_path, "--resolve", f"server:{origin.port}:127.0.0.1", prefix=as_in_compose(services)) as nat,
    ):
        proxy = f"socks5h://127.0.0.1:{nat.port}"
        done = run("curl", *options, f"http://server:{origin.port}/", env=clean_environment(ALL_PROXY=proxy))
        assert (done.returncode, done.stdout) == (0, "GET /"), done.stderr
        assert nat.wait_for("relay-started")["profile"] == "vmware-fusion-11"


def test_the_relay_is_healthy_when_it_listens_and_not_before(services: Services, tmp_path: Path) -> None:
    marker, *check = services["relay"]["healthcheck"]["test"]
    assert marker == "CMD"
    assert check[-1] == services["relay"]["environment"]["RELAY_PORT_FILE"]
    with serve(tmp_path, prefix=as_in_compose(services)):
        assert run(*check[:-1], str(tmp_path / "ports")).returncode == 0
    assert run(*check[:-1], str(tmp_path / "no ports")).returncode == 1


def test_docker_compose_takes_it() -> None:
    plugin = shutil.which("docker") is not None and run("docker", "compose", "version").returncode == 0
    compose = ("docker", "compose") if plugin else (need_program("docker-compose"),)
    done = run(*compose, "-f", str(FILE), "config", "--quiet")
    assert done.returncode == 0, done.stderr
