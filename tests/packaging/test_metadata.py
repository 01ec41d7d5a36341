"""What a package index shows of the relay, and what its wheel and source distribution hold."""

from __future__ import annotations

import email
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from trove_classifiers import classifiers

from support.programs import run

PROJECT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/vmnat-relay/vmnat-relay"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "hatchling", "build", "-d", str(folder), timeout_s=60, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


@pytest.mark.system
def test_the_index_links_to_source_documentation_changelog_and_issues(metadata: Message) -> None:
    urls = dict(each.split(", ", 1) for each in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Source", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(REPOSITORY) for url in urls.values())
    for url in urls.values():
        path = url.removeprefix(REPOSITORY).removeprefix("/blob/main/").removeprefix("/tree/main/")
        assert path in {"", "/issues"} or (PROJECT / path).exists(), url


@pytest.mark.system
def test_what_the_readme_links_to_is_found_from_the_index(metadata: Message) -> None:
    described = str(metadata.get_payload())
    assert f"]({REPOSITORY}/blob/main/docs/pytest.md)" in described
    assert "](docs/" not in described
    assert "](examples/" not in described


def test_every_classifier_is_one_of_the_indexs() -> None:
    own = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert set(own) - classifiers == set()
    assert len(own) == len(set(own))


@pytest.mark.system
def test_the_source_distribution_has_what_its_tests_and_pages_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in (
        "docs/conf.py",
        "docs/Dockerfile",
        "docs/vmnat-relay.service",
        ".ci/run",
        ".github/workflows/ci.yml",
    ):
        assert wanted in names


@pytest.mark.system
def test_the_wheel_has_no_tests_and_no_pages(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"relay", "pytest_vmnat_relay.py"}
