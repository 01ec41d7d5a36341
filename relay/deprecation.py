"""Former names: for one release each gives what has the new name, and warns.

A module offers its own with

    if not TYPE_CHECKING:
        __getattr__ = former_names(__name__, {"Former": "Current"})
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping


def warn_of_former_name(former: str, current: str, *, stacklevel: int) -> None:
    """Warn that a name has changed; `stacklevel` counts from the caller, which is 1."""
    warnings.warn(f"{former} is {current} now", DeprecationWarning, stacklevel=stacklevel + 1)


def former_names(module: str, current: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a module whose names have changed: `current` by former name."""

    def get(name: str) -> object:
        if name not in current:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_of_former_name(f"{module}.{name}", f"{module}.{current[name]}", stacklevel=2)
        return getattr(sys.modules[module], current[name])

    return get
