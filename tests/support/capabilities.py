"""What a host may lack: a skip with its reason on a developer's machine, a failure in CI."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test because this host lacks something; in CI nothing may be lacking."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


def need_program(name: str) -> str:
    """The path of a program, which may be in a directory that only root's PATH has."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        missing(f"the program {name} is not installed")
    return path


def need_root() -> None:
    """For network namespaces, captures, sshd, and the kernel's own withholding of segments."""
    if sys.platform != "linux" or os.geteuid() != 0:
        missing("needs root on Linux")


def need_tos() -> None:
    """For a change of TOS byte to be seen."""
    if sys.platform != "linux":
        missing("a change of TOS byte in another process is seen on Linux alone")


def need_capture() -> None:
    """For reading packets off the loopback interface."""
    need_root()
    if not hasattr(socket, "AF_PACKET"):
        missing("needs AF_PACKET")
