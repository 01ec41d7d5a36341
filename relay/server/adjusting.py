"""What flows are made with: the relay's profile, and the settings of their own that forwards' flows have.

A forward's own settings are laid over whatever the relay's profile is, also after that has changed.
"""

from __future__ import annotations

from relay.address import Endpoint
from relay.driver import Driver
from relay.errors import ConfigError
from relay.profiles import Profile, Source, adjust_profile, forward_profile

_STACK = "the stack's are those that the relay was started with"
_STACK_HINT = "start another one with them, e.g. relay run --set stack.mss=1400"


class Adjusting:
    """Changes the profiles of a driver; flows that are open keep theirs."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._stack = driver.profile.stack
        self.own: dict[Endpoint, tuple[str, ...]] = {}
        """The settings of their own that forwards have, by where they listen."""

    def adjust(self, settings: tuple[str, ...]) -> None:
        """Change settings of the relay's profile.

        Raises:
            ConfigError: one is wrong, or clashes with a forward's own; none was changed.
        """
        adjusted = self.adjusted(self._driver.profile, settings, of_forward=False)
        own = {address: self.adjusted(adjusted, settings) for address, settings in self.own.items()}
        self._driver.profile, self._driver.forward_profiles = adjusted, own

    def adjusted(self, profile: Profile, settings: tuple[str, ...], *, of_forward: bool = True) -> Profile:
        """A profile with these settings: a forward's may name another profile, too.

        Raises:
            ConfigError: one is wrong, or the stack's.
        """
        adjust = forward_profile if of_forward else adjust_profile
        adjusted = adjust(profile, settings, source=Source.COMMAND)
        if adjusted.stack != self._stack:
            raise ConfigError(f"settings: {_STACK}", hint=_STACK_HINT)
        return adjusted

    def keep(self, forward: Endpoint, settings: tuple[str, ...]) -> None:
        """Have a forward's flows made with settings of its own; without any, with the relay's.

        Raises:
            ConfigError: one is wrong; those that it had stay.
        """
        if not settings:
            self.forget(forward)
            return
        self._driver.forward_profiles[forward] = self.adjusted(self._driver.profile, settings)
        self.own[forward] = settings

    def forget(self, forward: Endpoint) -> None:
        """A forward has no settings of its own any more."""
        self.own.pop(forward, None)
        self._driver.forward_profiles.pop(forward, None)

    def tos_mask_at(self, address: Endpoint) -> int:
        """The bits of the TOS byte that matter to flows that come in there."""
        return self._driver.forward_profiles.get(address, self._driver.profile).tos_mask
