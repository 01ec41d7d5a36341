"""The names in the hosts file: the resolver answers them without a name server.

The file is no resolver here. The host's settings decide whether the file is read, before or after a name server, and
the host's resolver applies them. A name in the file is only expected to be looked up fast.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from relay.net.changing_file import ChangingFile

if sys.platform == "win32":
    HOSTS = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "drivers", "etc", "hosts")
else:
    HOSTS = Path("/etc/hosts")


class HostsFile:
    """The names in the file, read anew when the file has changed."""

    def __init__(self, path: Path = HOSTS) -> None:
        self._file = ChangingFile(path)
        self._names: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        """Whether a name, in lower case, stands there; `localhost` always does (RFC 6761 section 6.3)."""
        return name == "localhost" or name in self._read()

    def _read(self) -> frozenset[str]:
        if (text := self._file.read_changed()) is not None:
            # By words, not lines: an address or a word of a comment then counts as a name, which does no harm.
            self._names = frozenset(text.lower().split())
        return self._names
