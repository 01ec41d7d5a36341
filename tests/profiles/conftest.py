"""What tests of profiles share: a user's files, and a package that brings behaviours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.behaviours import installed_behaviours


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a profile, with a title unless told otherwise, and return its path."""

    def _write(text: str, name: str = "mine.toml", *, title: bool = True) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(('title = "Mine"\n' if title else "") + text, encoding="utf-8")
        return str(path)

    return _write


@pytest.fixture
def reminder_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the behaviours of `profiles.reminder` installed, as a package's metadata would."""
    metadata = tmp_path / "site" / "reminder-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: reminder\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(
        "[relay.behaviours]\nreminder = profiles.reminder:Reminder\nplain = profiles.reminder:Plain\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(metadata.parent))
    installed_behaviours.cache_clear()
    yield
    installed_behaviours.cache_clear()
