"""The workflows of the public CI, which cannot run here: their schema, and what they cover."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.namespaces import in_own_network
from support.programs import run

PROJECT = Path(__file__).parents[2]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
CHECK = (str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.github-workflows")


def checked(*files: Path) -> subprocess.CompletedProcess[str]:
    """What the schema, which the checker brings with it, has to say: there is no network."""
    return in_own_network(lambda: run(*CHECK, *map(str, files)))


def jobs_of(name: str) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / ".github" / "workflows" / name).read_text())["jobs"]
    return jobs


@pytest.mark.system
def test_every_workflow_follows_the_schema() -> None:
    done = checked(*WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
def test_and_the_check_finds_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "ci.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:", 1))
    done = checked(wrong)
    assert done.returncode == 1
    assert "runs-on" in done.stdout


def test_every_supported_python_is_tested_on_every_system() -> None:
    covered = set()
    for job in jobs_of("ci.yml").values():
        matrix = job["strategy"]["matrix"]
        covered |= set(itertools.product(matrix.get("os", [job["runs-on"]]), matrix["python"]))
    classifiers = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["classifiers"]
    pythons = [
        each.rpartition(" ")[2] for each in classifiers if each.startswith("Programming Language :: Python :: 3.")
    ]
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    assert covered == set(itertools.product(["ubuntu-latest", "macos-latest", "windows-latest"], pythons))


def test_a_release_builds_wheel_and_image_and_publishes_only_a_tag() -> None:
    jobs = jobs_of("release.yml")
    commands = [step.get("run", "") for step in jobs["wheel"]["steps"]]
    assert "python -m build" in commands
    files = {step["with"]["file"] for step in jobs["image"]["steps"] if "build-push-action" in step.get("uses", "")}
    assert [(PROJECT / file).exists() for file in files] == [True]
    publishing = [jobs["publish"], *(step for step in jobs["image"]["steps"] if step.get("with", {}).get("push"))]
    assert [each["if"] for each in publishing] == ["startsWith(github.ref, 'refs/tags/v')"] * 2
