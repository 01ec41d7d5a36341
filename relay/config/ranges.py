"""The ranges of settings that are numbers."""

from __future__ import annotations

from relay.errors import ConfigError

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines
MAX_TIMEOUT_S = 86_400  # a day
MAX_TIME_SCALE = 1000.0
MAX_ADVANCE_S = 31_536_000.0  # a year


def check_timeout(seconds: float | None, *, where: str) -> None:
    """Insist that a limit in seconds can be kept; None is no limit.

    Raises:
        ConfigError: it cannot, naming `where`.
    """
    if seconds is not None and not 0 < seconds <= MAX_TIMEOUT_S:
        raise ConfigError(
            f"{where}: {seconds:g} is out of range", hint=f"give seconds, more than 0 and up to {MAX_TIMEOUT_S}"
        )


def check_max_flows(count: int | None) -> None:
    """Insist that this can be a limit of flows; None is no limit.

    Raises:
        ConfigError: they cannot.
    """
    if count is not None and count < 1:
        raise ConfigError(f"--max-flows: {count} is out of range", hint="give 1 or more; without it there is no limit")


def check_time_scale(value: float, *, where: str) -> None:
    """Insist that delays can be divided by this.

    Raises:
        ConfigError: they cannot, naming `where`.
    """
    if not 0 < value <= MAX_TIME_SCALE:
        raise ConfigError(f"{where}: {value:g} is out of range", hint=f"give more than 0 and up to {MAX_TIME_SCALE:g}")


def check_advance(seconds: float, keepalive: str = "credit") -> None:
    """Insist that a clock can be moved on by this, and that what to do about keepalive is known.

    Raises:
        ConfigError: it cannot.
    """
    hint = f"give seconds, 0 or more and up to {MAX_ADVANCE_S:.0f}"
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise ConfigError(f"advance: seconds: {seconds!r} is not a number", hint=hint)
    if not 0 <= seconds <= MAX_ADVANCE_S:
        raise ConfigError(f"advance: seconds: {seconds:g} is out of range", hint=hint)
    if keepalive not in {"credit", "ignore"}:
        raise ConfigError(f"advance: keepalive: {keepalive!r} is not known", hint="give 'credit' or 'ignore'")
