"""The file beside a probe's profile: what was seen and found, a line of JSON each, written as it comes.

So a probe of hours that does not end as it should leaves what it saw.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from relay.cli.output_file import open_log, worded


class ProbeLog:
    """A context that has the file open. An earlier one's lines are there until the first of this."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = ""
        """Why no more was written, if so."""
        self._is_new = not path.exists()
        self._is_begun = False
        with worded("--output", path, accepted="name a file that can be written"):
            self._stream = os.fdopen(open_log(path), "w")

    def __enter__(self) -> ProbeLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()
        if self._is_new and not self._is_begun:
            self.path.unlink(missing_ok=True)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write one line."""
        if self.error:
            return
        try:
            if not self._is_begun:
                self._stream.truncate(0)
                self._is_begun = True
            print(json.dumps(entry), file=self._stream, flush=True)
        except OSError as error:
            self.error = error.strerror or str(error)
