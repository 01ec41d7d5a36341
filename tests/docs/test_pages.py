"""README and every page of docs/ do what they say: each block, as it stands, in a fresh shell and a fresh folder.

Pages whose commands use fixed ports have a network of their own, in which an sshd listens on port 22.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from docs.conftest import PROJECT
from relay.behaviours import installed_behaviours
from relay.cli.app import app
from relay.profiles import profile_names
from support import option_reference
from support.capabilities import need_program
from support.namespaces import in_own_network
from support.page import blocks_of, follow
from support.plain_words import riddles_in
from support.programs import Sshd, sshd

DOCS = PROJECT / "docs"
PAGES = [PROJECT / "README.md", *sorted(DOCS.glob("*.md"))]
LISTS = [PROJECT / "examples" / "README.md", PROJECT / "examples" / "idle_connections" / "README.md"]
READ = [*PAGES, *LISTS, *sorted((DOCS / "profiles").glob("*.md"))]
"""All that people read; the blocks of the pages alone are followed here."""
IN_A_CHECKOUT = {"README.md", "index.md"}
"""Pages whose reader stands in a checkout; all others' reader has a folder of his own."""
OWN_NETWORK = {"README.md", "command-line.md", "deployment.md", "getting-started.md", "performance.md", "wire.md"}
"""Pages with a fixed port, or that ssh or sudo is on; it takes root to make a network. All others take no privilege."""
INSTALLING = {"README.md", "getting-started.md", "new-behaviour.md"}
"""Pages that install the relay; all others' reader has followed the first block of `getting-started.md`."""
NOT_RUN = {
    "control.md": ["needs a client of yours", "needs the relay of the first line", "needs a server of yours"],
    "README.md": ["it is this very test suite, which .ci/run runs by this block"],
    "deployment.md": [
        "needs a Docker daemon and the base image",
        "needs a Docker daemon and the base image",
        "changes the host",
    ],
    "probe.md": ["needs two hosts", "needs two hosts"],
    "performance.md": ["as root, on a quiet host, for about an hour"],
}

_LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(#[^)\s]*)?\)")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, fresh_host: dict[str, str]) -> Path:
    """The folder of a reader who has followed the first block of `getting-started.md`."""
    folder = tmp_path_factory.mktemp("installed")
    first = blocks_of((DOCS / "getting-started.md").read_text(encoding="utf-8"))[0]
    follow(f"```sh\n{first.text}```\n", folder, fresh_host, timeout_s=100)
    return folder


@pytest.fixture
def in_reach_of_sshd(tmp_path: Path) -> Callable[[Callable[[tuple[str, ...]], None]], None]:
    """Calls a function in a network where an sshd listens on port 22, with what gives the reader's ssh a key for it."""

    def ready(server: Sshd) -> tuple[str, ...]:
        host_key = (tmp_path / "host_key.pub").read_text()
        (tmp_path / "known_hosts").write_text(f"127.0.0.1 {host_key}[127.0.0.1]:2222 {host_key}")
        (tmp_path / "ssh_config").write_text(
            f"IdentityFile {server.key_file}\nUserKnownHostsFile {tmp_path / 'known_hosts'}\nBatchMode yes\n"
        )
        mounts = [f"mount --bind {tmp_path / 'ssh_config'} /etc/ssh/ssh_config"]
        if Path("/etc/sudoers").exists():  # where sudo drops PYTHONPATH, the reader's relay lacks what it depends on
            (tmp_path / "sudoers").write_text("root ALL=(ALL) ALL\nDefaults env_keep += PYTHONPATH\n")
            mounts.append(f"mount --bind {tmp_path / 'sudoers'} /etc/sudoers")
        return ("unshare", "--mount", "sh", "-c", f'{"; ".join(mounts)}; exec "$@"', "sh")

    def call(function: Callable[[tuple[str, ...]], None]) -> None:
        def inside() -> None:
            with sshd(tmp_path, port=22) as server:
                function(ready(server))

        in_own_network(inside)

    return call


def checkout(folder: Path) -> None:
    """What of this project a reader has who has cloned it, as far as an installation and the site need it."""
    for name in ("relay", "docs", "examples"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, folder / name)


@pytest.mark.system
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if "\n```" in page.read_text(encoding="utf-8")], ids=lambda page: page.name
)
def test_a_page_does_what_it_says(
    page: Path,
    tmp_path: Path,
    fresh_host: dict[str, str],
    installed: Path,
    in_reach_of_sshd: Callable[[Callable[[tuple[str, ...]], None]], None],
) -> None:
    reader = tmp_path / "reader"
    reader.mkdir()
    if page.name in IN_A_CHECKOUT:
        checkout(reader)
    text = page.read_text(encoding="utf-8")
    if page.name not in INSTALLING:
        text = f"```sh\n. {installed}/.venv/bin/activate\n```\n\n{text}"
    if page.name not in OWN_NETWORK:
        follow(text, reader, fresh_host, timeout_s=300)
        return
    for program in ("ssh", "nc", "curl", "unshare", "setpriv", "sudo"):
        need_program(program)
    in_reach_of_sshd(lambda prefix: follow(text, reader, fresh_host, timeout_s=300, prefix=prefix))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_not_run_is_listed_here(page: Path) -> None:
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    assert [block.not_run for block in blocks if block.not_run] == NOT_RUN.get(page.name, [])


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_to_files_and_headings_that_there_are(page: Path) -> None:
    for file, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / file if file else page
        assert target.exists(), file
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor[1:] in anchors, file + anchor


def test_the_readme_leads_to_every_page_and_is_short() -> None:
    readme = PAGES[0].read_text(encoding="utf-8")
    linked = {Path(file).name for file, _ in _LINK.findall(readme)}
    assert {page.name for page in PAGES} - linked == {"index.md"} | {"README.md"} - linked
    assert len(readme.splitlines()) <= 150


def test_the_symptoms_name_behaviours_and_profiles_that_there_are() -> None:
    part = (DOCS / "getting-started.md").read_text(encoding="utf-8").partition("## Your symptom")[2]
    rows = [row.split(" | ") for row in re.findall(r"^\| (?!what you see|---)(.*) \|$", part, re.MULTILINE)]
    quirks = {name for _, quirk, _ in rows for name in re.findall(r"`([a-z-]+)`", quirk)}
    assert quirks - set(installed_behaviours()) == set()
    told = " ".join(how for *_, how in rows)
    profiles = set(re.findall(r"(?:--profile |`)([a-z0-9]+-[a-z0-9-]+)", told)) - set(installed_behaviours())
    assert profiles - {"keepalive-probe", "bytes-lost"} - set(profile_names()) == set()
    assert len(profiles) > 8


def test_the_page_of_the_command_line_names_every_command_and_option() -> None:
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert set(re.findall(r"^\| `relay ([a-z]+)", page, re.MULTILINE)) == commands.keys()
    (told,) = re.findall(r"^(.*) print JSON with `--json`", page, re.MULTILINE)
    assert set(re.findall(r"`([a-z]+)`", told)) == {name for name in commands if _has_json(name)}
    options = {option for parameter in commands["serve"].params for option in parameter.opts if option.startswith("--")}
    assert {option for option in options if option not in page} == set()


def _has_json(command: str) -> bool:
    return any("--json" in option.opts for option in option_reference.commands()[command].params)


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`relay ([a-z]+)\b", page.read_text(encoding="utf-8"))
    assert set(named) - option_reference.commands().keys() == set()


def test_the_figures_of_the_performance_page_are_those_of_the_benchmark() -> None:
    rows = re.findall(r"^\| .*", (DOCS / "performance.md").read_text(encoding="utf-8"), re.MULTILINE)
    measured = (PROJECT / "bench" / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 20
    assert set(rows) - set(measured) == set()


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(PROJECT)))
def test_the_words_are_plain(page: Path) -> None:
    riddles = r"\b(for ever|as ever|not one|no more than the)\b"
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if re.search(riddles, line)] + riddles_in(prose) == []
