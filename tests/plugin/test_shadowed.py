"""A project may have a `relay` of its own: the plugin leaves it alone, and finds ours beside it where it can."""

from __future__ import annotations

import statistics
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.programs import clean_environment, run

_WITHOUT = ("-pno:cacheprovider", "-pno:hypothesispytest", "-pno:cov", "-pno:anyio")  # their imports are not ours
_THEIRS = "GREETING = 'theirs'\n"
PROJECTS: Mapping[str, Mapping[str, str]] = {
    "module": {"relay.py": _THEIRS},
    "package": {"relay/__init__.py": _THEIRS, "relay/wire.py": ""},
    "src": {"src/relay/__init__.py": _THEIRS, "pytest.ini": "[pytest]\npythonpath = src\n"},
}


def _pytest(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "pytest", "-q", *_WITHOUT, "--rootdir", ".", *arguments, cwd=project)


@pytest.fixture(params=PROJECTS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a `relay` of its own."""
    for name, text in PROJECTS[request.param].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def _write_test(project: Path, source: str) -> None:
    (project / "test_it.py").write_text(textwrap.dedent(source))


def test_a_suite_with_a_relay_of_its_own_runs_as_if_ours_were_not_installed(project: Path) -> None:
    _write_test(
        project,
        """
        import sys
        import relay

        def test_theirs():
            assert relay.GREETING == "theirs"
            ours = {name for name in sys.modules if name.partition(".")[0] in {"anyio", "trio", "h11", "typer"}}
            assert not ours
        """,
    )
    done = _pytest(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("1 passed in " + done.stdout.rpartition(" in ")[2])


@pytest.mark.parametrize("options", [(), ("--nat-profile=transparent",)], ids=["", "with an option"])
def test_a_fixture_finds_ours_where_the_other_one_is_not_imported(project: Path, options: tuple[str, ...]) -> None:
    _write_test(
        project,
        """
        import pytest

        @pytest.mark.nat_relay(["transparent", "vmware-fusion"], strict=False)
        def test_ours(nat_relay):
            from relay import serve_in_thread
            assert nat_relay.forward("127.0.0.1", 9)
        """,
    )
    done = _pytest(project, *options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fixture_that_cannot_have_ours_says_what_shadows_it_and_what_to_do(project: Path) -> None:
    _write_test(
        project,
        """
        import relay

        def test_ours(nat_relay):
            pass

        def test_theirs():
            assert relay.GREETING == "theirs"
        """,
    )
    done = _pytest(project, "--nat-profile=transparent")
    assert "1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("nat_relay: ")]
    where = next(name for name in PROJECTS["module" if (project / "relay.py").exists() else "package"])
    assert line.startswith("nat_relay: `relay` is ")
    assert line.endswith(f"{where} here, which was imported and shadows the package of vmnat-relay")
    assert "\nhint: rename it; or keep " in done.stdout
    assert "Traceback" not in done.stdout


def test_a_run_that_does_not_use_it_loads_none_of_it(tmp_path: Path) -> None:
    _write_test(
        tmp_path,
        """
        import sys

        def test_loaded():
            assert "pytest_vmnat_relay" in sys.modules
            tops = {name.partition(".")[0] for name in sys.modules}
            assert tops.isdisjoint({"relay", "anyio", "trio", "h11", "typer"})
        """,
    )
    done = _pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_that_does_not_use_it_takes_no_longer_with_it(tmp_path: Path) -> None:
    _write_test(tmp_path, "def test_nothing(): pass")
    resource = pytest.importorskip("resource", reason="this system does not tell the CPU time of child processes")
    took: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(10):
        for name, arguments in (("with", ()), ("without", ("-pno:nat_relay",))):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert _pytest(tmp_path, *arguments).returncode == 0
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # 4 ms of 200; with anyio's imports it would be twice as long as without.
    assert statistics.median(took["with"]) < statistics.median(took["without"]) * 1.3


def test_an_editable_install_brings_the_plugin_too(tmp_path: Path) -> None:
    """What this suite itself runs in may be one; here it is one for sure, beside this environment's packages."""
    root = Path(__file__).parents[2]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index")
    options = ("--no-deps", "--no-build-isolation", "--target", str(tmp_path / "site"))
    installed = run(*pip, *options, "--editable", str(root), cwd=tmp_path, timeout_s=100)
    assert installed.returncode == 0, installed.stderr
    _write_test(tmp_path, "def test_ours(nat_relay_session): assert nat_relay_session.forward('127.0.0.1', 9)")
    script = f"""
        import site, sys
        sys.path[:] = [folder for folder in sys.path if "relay" not in folder]
        before = list(sys.path)
        site.addsitedir({str(tmp_path / "site")!r})
        sys.path[:] = [folder for folder in sys.path if folder not in before] + before  # this suite's own comes later
        import pytest, pytest_vmnat_relay
        print(pytest_vmnat_relay.__file__)
        sys.exit(pytest.main(["-q", "-p", "pytest_vmnat_relay", "--rootdir", "."]))
    """
    env = clean_environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    done = run(sys.executable, "-c", textwrap.dedent(script), cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(str(root / "relay" / "pytest_plugin" / "entry"))
