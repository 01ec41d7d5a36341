"""What happens to all flows at once: sides freeze and thaw, settings change for the flows to come.

A flow is made with the settings of the moment it was accepted in. So settings change only while no flow is being
opened, and each flow knows which it has.

While an external side is frozen its kernel hears nothing: a reset that it is sent then is lost, as it would be on a
line that is down, and the flow would wait for a peer that is no more. Such resets wait for the thaw.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from random import Random

from bench.soak.subject import Subject
from relay.events import Side
from relay.profiles import load_profile

_CALM_S = (0.3, 2.0)
_FROZEN_S = (0.02, 0.6)
_VALUES: Mapping[str, tuple[object, ...]] = {
    "close-mapping.internal_rst": ("rst", "fin"),
    "local-ack.buffer_bytes": (0, 1 << 16),
    "precomplete-handshake.order": ("external-first", "internal-first", "lockstep"),
    "tos-reset.external_close_delay_ms": (0, 10, 105),
    "tos-reset.mask": (0xE0, 0xFC),
}


@dataclass(frozen=True)
class Settings:
    """What of a profile the verdicts depend on."""

    tos_mask: int
    """0: no change of the TOS byte is minded."""
    internal_rst: str
    order: str


class Weather:
    """Blows until `calm` is called; flows ask it for shelter."""

    def __init__(self, subject: Subject, profile: str, seed: int) -> None:
        self._subject = subject
        self._chance = Random(f"{seed}/weather")  # noqa: S311 - meant to be repeatable
        self._over = asyncio.Event()
        self._opening = 0
        self._none_opens = asyncio.Event()
        self._none_opens.set()
        self._may_open = asyncio.Event()
        self._may_open.set()
        self.external_thawed = asyncio.Lock()
        """Held while the external side is frozen, and by a flow that needs it thawed."""
        self.freezes = self.changes = 0
        self._own = _own_values(profile)
        self.settings = _settings(self._own)

    @contextlib.asynccontextmanager
    async def opening(self) -> AsyncIterator[Settings]:
        """Shelter for a flow that is being opened: the settings it is made with do not change meanwhile."""
        await self._may_open.wait()
        self._opening += 1
        self._none_opens.clear()
        try:
            yield self.settings
        finally:
            self._opening -= 1
            if not self._opening:
                self._none_opens.set()

    async def blow(self) -> None:
        """Go on until it is to be calm, and leave everything thawed."""
        self._over.clear()
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), self._chance.uniform(*_CALM_S))
                return
            if self._chance.random() < 0.7:
                await self._freeze()
            else:
                await self._change()

    def calm(self) -> None:
        self._over.set()

    async def _change(self) -> None:
        self._may_open.clear()
        await self._none_opens.wait()
        values = {
            name: own if self._chance.random() < 0.5 else self._chance.choice(_VALUES[name])
            for name, own in self._own.items()
        }
        await self._subject.command("adjust", settings=[f"{name}={value}" for name, value in values.items()])
        self.changes += 1
        self.settings = _settings(values)
        self._may_open.set()

    async def _freeze(self) -> None:
        sides = self._chance.choice(([Side.INTERNAL], [Side.EXTERNAL], list(Side)))
        self.freezes += 1
        async with contextlib.AsyncExitStack() as stack:
            if Side.EXTERNAL in sides:
                await stack.enter_async_context(self.external_thawed)
            for side in sides:
                await self._subject.command("freeze", side=side.value)
            await asyncio.sleep(self._chance.uniform(*_FROZEN_S))
            for side in sides:
                await self._subject.command("thaw", side=side.value)


def _own_values(profile: str) -> dict[str, object]:
    """What the profile has of the settings that change."""
    own = {quirk.name: quirk.settings for quirk in load_profile(profile).quirks}
    named = {name: name.split(".") for name in _VALUES}
    return {name: own[quirk][key] for name, (quirk, key) in named.items() if quirk in own}


def _settings(values: Mapping[str, object]) -> Settings:
    return Settings(
        tos_mask=int(str(values.get("tos-reset.mask", 0))),
        internal_rst=str(values["close-mapping.internal_rst"]),
        order=str(values["precomplete-handshake.order"]),
    )
