"""A network namespace of one's own: a loopback interface, and no route to anywhere."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from support.capabilities import need_program, need_root
from support.programs import run

_CLONE_NEWNET = 0x40000000  # sched.h
_Result = TypeVar("_Result")


def in_own_network(function: Callable[[], _Result], *routes: str) -> _Result:
    """Call `function` in a thread whose sockets, threads and processes are in a fresh network namespace.

    Each of `routes` is what follows `ip route add`. The namespace goes when its last socket and thread have gone.
    """
    need_root()
    ip = need_program("ip")
    results: list[_Result] = []
    faults: list[BaseException] = []

    def enter_and_call() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            for command in (("link", "set", "lo", "up"), *(("route", "add", *route.split()) for route in routes)):
                made = run(ip, *command)
                assert made.returncode == 0, made.stderr
            results.append(function())
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=enter_and_call)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return results[0]
