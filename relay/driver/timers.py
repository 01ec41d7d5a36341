"""The timers of one flow, and calls into it from outside.

A timer is known by its key; started anew, it begins again. None fires once the flow is over. An exception in a timer's
callback, or in any other call from outside the flow, ends that flow and goes no further.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec

from relay.loop.timers import Timer

if TYPE_CHECKING:
    from relay.driver.driver import Driver

_Args = ParamSpec("_Args")


class Timed(ABC):
    """What has timers; `relay.driver.flow.Flow` is one."""

    __slots__ = ("_timers", "driver", "now_s")

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.now_s = driver.now_s
        """Seconds on the NAT's clock."""
        self._timers: dict[str, Timer] | None = None  # most idle flows have none

    @abstractmethod
    def break_off(self, fault: Exception) -> None:
        """End because of an exception."""

    def guard(self, method: Callable[_Args, None], /, *args: _Args.args, **kwargs: _Args.kwargs) -> None:
        """Run a call that comes from outside the flow."""
        try:
            method(*args, **kwargs)
        except Exception as fault:
            self.break_off(fault)

    def guarded(self, method: Callable[_Args, None]) -> Callable[_Args, None]:
        """The same for a callback that is called later."""
        return partial(self.guard, method)

    @property
    def has_timers(self) -> bool:
        return bool(self._timers)

    def has_timer(self, key: str) -> bool:
        return self._timers is not None and key in self._timers

    def start_timer(self, key: str, after_s: float, callback: Callable[[], Any]) -> None:
        """Call back in `after_s` real seconds, unless the flow is over by then."""
        self._keep(key, self.driver.engine.call_later(after_s, partial(self.guard, callback)))

    def start_nat_timer(self, key: str, after_s: float, callback: Callable[[], Any]) -> None:
        """The same, in seconds of the NAT's clock."""
        self._keep(key, self.driver.engine.nat.call_later(after_s, partial(self.guard, callback)))

    def stop_timer(self, key: str) -> None:
        """Stop one; harmless if there is none of this key."""
        if self._timers is not None and (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
            self._timers = self._timers or None

    def stop_timers(self) -> None:
        """Stop them all."""
        for timer in (self._timers or {}).values():
            timer.cancel()
        self._timers = None

    def _keep(self, key: str, timer: Timer) -> None:
        self.stop_timer(key)
        if self._timers is None:
            self._timers = {}
        self._timers[key] = timer
