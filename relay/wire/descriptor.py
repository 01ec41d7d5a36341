"""A descriptor that is no socket, as an object that can be watched, and that a forked child closes."""

from __future__ import annotations

import os


class Descriptor:
    """Owns a descriptor."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._number

    def close(self) -> None:
        """Close it; harmless when repeated."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)
