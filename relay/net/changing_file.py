"""A file of the host's settings, which is read anew when it has changed."""

from __future__ import annotations

from pathlib import Path


class ChangingFile:
    """One file; a symbolic link is followed anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, ...] | None = None

    def read_changed(self) -> str | None:
        """What it says, if it has changed since the last call; None if not. A file that is not there says nothing."""
        try:
            status = self._path.stat()
            version: tuple[int, ...] = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version == self._version:
                return None
            text = self._path.read_text("utf-8", "replace")
        except OSError:
            version, text = (), ""
            if version == self._version:
                return None
        self._version = version
        return text
