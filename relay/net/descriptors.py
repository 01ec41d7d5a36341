"""How many descriptors this process may have open."""

from __future__ import annotations

from contextlib import suppress

try:
    import resource
except ImportError:  # Windows, where there is no such limit
    resource = None  # type: ignore[assignment]


def raise_descriptor_limit() -> None:
    """Have as many as are allowed: a relay needs two for each flow.

    The soft limit is often 256 or 1024, the hard one far more.
    """
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # macOS says unlimited and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptor_limit() -> int | None:
    """The limit that counts now; None is no limit."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
