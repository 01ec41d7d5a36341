"""What the Tab key offers, as a real bash asks for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from relay.observe import observer_names
from relay.profiles import profile_names
from support.capabilities import missing
from support.programs import RELAY, clean_environment, relay

_PRESS_TAB = """
eval "$(relay --show-completion bash)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*"
function_=$(complete -p relay | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function_" relay "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(line: str, cwd: Path) -> list[str]:
    """What bash offers where this line ends."""
    if (bash := shutil.which("bash")) is None:
        missing("needs bash")
    path = f"{Path(RELAY[0]).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [bash, "--norc", "-c", _PRESS_TAB, "bash", *line.split(" ")],
        env=clean_environment(PATH=path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=cwd,
    )
    assert done.stderr == ""
    return [word for word in done.stdout.splitlines() if word]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("relay ex", ["explain"]),
        ("relay serve --max-f", ["--max-flows"]),
        ("relay serve --profile vmware-w", [name for name in profile_names() if name.startswith("vmware-w")]),
        ("relay explain tr", ["transparent"]),
        ("relay serve --set tos", ["tos-reset.", "tos-watch."]),
        ("relay serve --set tos-reset.m", ["tos-reset.mask="]),
        ("relay run --set st", ["stack.", "stray-reset."]),
        ("relay run --set stack.ack", ["stack.ack="]),
        ("relay serve --observer so", [name for name in observer_names() if name.startswith("so")]),
        ("relay serve --backend t", ["trio"]),
        ("relay serve --profile mi", ["mine.toml"]),
    ],
)
def test_names_are_completed(line: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("title = 'Mine'")
    assert sorted(offered(line, tmp_path)) == sorted(words)


def test_a_settings_choices_are_completed(tmp_path: Path) -> None:
    done = relay(
        _RELAY_COMPLETE="complete_bash",
        COMP_WORDS="relay explain --set close-mapping.half_close=",
        COMP_CWORD="3",
    )
    assert sorted(done.stdout.split()) == ["close-mapping.half_close=close", "close-mapping.half_close=pass"]


def test_completion_is_installed_for_a_shell_that_is_named(tmp_path: Path) -> None:
    done = relay("--install-completion", "bash", HOME=str(tmp_path), _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert "completion" in (tmp_path / ".bashrc").read_text()
