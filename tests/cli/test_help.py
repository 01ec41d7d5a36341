"""`--help` of each command that takes arguments names them as people would write them."""

from __future__ import annotations

import pytest

from relay.cli.main import run


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("check", "FILE..."),
        ("explain", "[PROFILE]"),
        ("ladder", "FILE|-"),
        ("probe", "SERVER"),
        ("report", "FILE|-"),
        ("run", "COMMAND [ARGUMENT]..."),
        ("toxiproxy", "[-host=ADDRESS] [-port=PORT] [-config=FILE] [-seed=N]"),
    ],
)
def test_arguments_are_named_without_braces_and_without_types_of_python(
    command: str, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(f"Usage: relay {command} [OPTIONS] {arguments} ")
    assert not set("<>{}") & set(shown)
    named = "PROFILE" if command == "explain" else arguments
    assert f" Arguments: {named} " in shown
