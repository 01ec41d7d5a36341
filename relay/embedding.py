"""A relay inside an asyncio or trio program, in the program's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

from relay import server
from relay.config import DEFAULT_PROFILE
from relay.config.options import RelayOptions, configured
from relay.profiles import Profile
from relay.server import Relay


@asynccontextmanager
async def open_relay(
    profile: str | Profile = DEFAULT_PROFILE,
    *,
    listen: str | None = "127.0.0.1:0",
    **options: Unpack[RelayOptions],
) -> AsyncIterator[Relay]:
    """Serve for as long as the block lasts, inside the asyncio or trio program that enters it.

    `profile` is a name, a TOML file's path or a loaded profile, `listen` the proxy's HOST:PORT (None: no proxy); for
    the rest see `RelayOptions`. Leaving the block resets what is left of the flows; `Relay.drain` lets them end first.

    Raises:
        ConfigError: an option or a setting is wrong, or an address cannot be listened on.
        Unsupported: this host lacks what was asked for.
    """
    async with server.open_relay(configured(profile, listen, options)) as nat:
        yield nat
