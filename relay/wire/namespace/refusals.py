"""Why a host does not let a command have a network of its own, and what its user can do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from relay.errors import Unsupported
from relay.wire.namespace.helper import Answer

_SWITCHES = (
    # file, the value that forbids it, how to set it otherwise
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
)
_LIMITS = {"user": "user.max_user_namespaces", "namespaces": "user.max_net_namespaces or user.max_mnt_namespaces"}
_WITHOUT = "or use what needs none: `relay serve`, with or without --wire"
_IN_CONTAINER = "in a container, start it with --cap-add SYS_ADMIN and without a seccomp profile"


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def refusal(answer: Answer, *, read: Callable[[str], str | None] = _read) -> Unsupported:
    """Return the error for a helper that failed; `read` returns a file's content, None if there is no such file."""
    why = os.strerror(answer.number).lower()
    if answer.step in {"user", "mapping", "namespaces"}:
        return _forbidden(answer, why, read)
    if answer.step == "device":
        return Unsupported(
            f"this host gives the command neither a TUN device nor a pair of Ethernet devices: {why}",
            hint="load the kernel module tun or veth (modprobe tun), " + _WITHOUT,
        )
    if answer.step == "files":
        return Unsupported(
            f"{answer.file or 'a file'} cannot be covered: {why}",
            hint="it must exist, and be no dangling link"
            if answer.number == errno.ENOENT
            else "the host forbids mounts; " + _IN_CONTAINER,
        )
    return Unsupported(f"the command's network cannot be set up ({answer.step}): {why}", hint=_WITHOUT[3:])


def _forbidden(answer: Answer, why: str, read: Callable[[str], str | None]) -> Unsupported:
    if answer.number == errno.ENOSPC:  # a limit, which may be one of an enclosing namespace's
        limit = _LIMITS.get(answer.step, _LIMITS["user"])
        return Unsupported(
            f"no more namespaces are allowed here, by {limit}",
            hint=f"raise {limit} with sudo sysctl, {_WITHOUT}",
        )
    for path, forbidding, setting in _SWITCHES:
        if read(path) == forbidding:
            name = setting.partition("=")[0]
            return Unsupported(
                f"{name} is {forbidding}: this host forbids user namespaces",
                hint=f"sudo sysctl -w {setting}, or run it with sudo, {_WITHOUT}",
            )
    return Unsupported(f"this host forbids new namespaces ({answer.step}): {why}", hint=f"{_IN_CONTAINER}, {_WITHOUT}")
