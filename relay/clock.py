"""The host's clocks, whatever a test does to the module `time`.

freezegun replaces a function in `time`, and in each module that has a name for it. `real_s` and `wall_s` are those of a
copy of that module, which nothing else has. The engine's timers do not go by the async library's clock either; see
`relay.net.alarm`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import BuiltinImporter
from importlib.util import find_spec, module_from_spec
from types import ModuleType


def _own_time() -> ModuleType:
    spec = BuiltinImporter.find_spec("time") or find_spec("time")
    assert spec is not None  # noqa: S101 - it is part of every Python
    assert spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_time = _own_time()
real_s: Callable[[], float] = _time.monotonic
"""Now, in seconds on the host's monotonic clock."""
wall_s: Callable[[], float] = _time.time
"""Now, in seconds since the epoch."""
