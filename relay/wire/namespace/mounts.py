"""Files of one's own in a mount namespace of one's own."""

from __future__ import annotations

import os
from pathlib import Path

from relay.wire.namespace.kernel import MNT_DETACH, MS_BIND, MS_REC, MS_SLAVE, mount, unmount

_SCRATCH = "/tmp"  # noqa: S108 - hidden by a file system of ours for a moment, in our namespace alone


def detach_mounts() -> None:
    """Have what is mounted from now on stay in this namespace."""
    mount("none", "/", None, MS_REC | MS_SLAVE)


def cover_file(path: str, content: str) -> None:
    """Have a file read as `content` from now on, in this namespace; a symbolic link's target stands in for it.

    Raises:
        OSError: there is no such file, or mounting is forbidden.
    """
    target = os.path.realpath(path)
    mount("none", _SCRATCH, "tmpfs")
    try:
        cover = Path(_SCRATCH, "cover")
        cover.write_text(content)
        cover.chmod(0o644)
        mount(str(cover), target, None, MS_BIND)
    finally:
        unmount(_SCRATCH, MNT_DETACH)
