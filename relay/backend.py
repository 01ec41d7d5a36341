"""The async libraries that a relay runs on: asyncio, trio, and asyncio with uvloop as its event loop.

anyio has the first two as backends and the third as an option of the first. uvloop is an extra that is installed by
itself, and does not exist for Windows.
"""

from __future__ import annotations

import difflib
import gc
import sys
from importlib.util import find_spec
from typing import Any, NamedTuple

from relay.errors import ConfigError, Unsupported

BACKENDS = ("asyncio", "trio", "uvloop")


class Backend(NamedTuple):
    """The arguments that anyio takes for a backend."""

    library: str
    options: dict[str, Any]


def choose_backend(name: str, *, where: str = "backend") -> Backend:
    """How to run on the backend of this name; `where` is what the user calls the choice.

    Raises:
        ConfigError: there is no such backend.
        Unsupported: it cannot be had here.
    """
    if name not in BACKENDS:
        near = difflib.get_close_matches(name.lower(), BACKENDS, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"{where}: unknown backend {name!r}", hint=f"{guess}choose one of {', '.join(BACKENDS)}")
    if name != "uvloop":
        return Backend(name, {})
    if sys.platform == "win32":
        raise Unsupported(f"{where}: there is no uvloop for Windows", hint="choose asyncio or trio")
    if find_spec("uvloop") is None:
        raise Unsupported(f"{where}: uvloop is not installed", hint='pip install "vmnat-relay[uvloop]"')
    return Backend("asyncio", {"use_uvloop": True})


def spare_collector() -> None:
    """Have the cyclic garbage collector pass seldom, in a process that does nothing but relay.

    A flow is given back by reference counts when it is over. What the collector would find are the flows that are
    open, over and over: it took 5 % of the CPU time of many short connections.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def runs_trio() -> bool:
    """Whether this thread runs trio now."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


def running_backend() -> str:
    """What the calling task runs on, whichever program started it.

    Raises:
        RuntimeError: the thread runs no event loop.
    """
    if runs_trio():
        return "trio"
    asyncio = sys.modules.get("asyncio")  # imported by whatever runs it
    if asyncio is None:
        raise RuntimeError("no event loop runs in this thread")
    loop = asyncio.get_running_loop()
    return "uvloop" if type(loop).__module__.partition(".")[0] == "uvloop" else "asyncio"
