"""A file that is read anew when it has changed."""

from __future__ import annotations

import os
from pathlib import Path

from relay.net.changing_file import ChangingFile
from support.capabilities import missing


def test_it_is_read_once_for_each_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    file = ChangingFile(path)
    assert [file.read_changed(), file.read_changed()] == ["one", None]
    path.write_text("two, longer")
    assert [file.read_changed(), file.read_changed()] == ["two, longer", None]
    replaced = tmp_path / "new"
    replaced.write_text("two, LONGER")
    os.utime(replaced, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    replaced.replace(path)
    assert file.read_changed() == "two, LONGER"


def test_one_that_is_not_there_says_nothing_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = ChangingFile(path)
    assert [file.read_changed(), file.read_changed()] == ["", None]
    path.write_text("there")
    assert file.read_changed() == "there"
    path.unlink()
    assert [file.read_changed(), file.read_changed()] == ["", None]


def test_a_link_to_another_file_is_a_change(tmp_path: Path) -> None:
    link = tmp_path / "link"
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    try:
        link.symlink_to(tmp_path / "one")
    except OSError:
        missing("needs symbolic links")
    file = ChangingFile(link)
    assert file.read_changed() == "one"
    link.unlink()
    link.symlink_to(tmp_path / "two")
    assert file.read_changed() == "two"
