"""The round trip in wire mode, where the app's packets meet the NAT's own TCP: FIN, RST, the TOS byte and idle limits.

All relays are in this process, in a network of the test's own: see `support.probing_wire`.
"""

from __future__ import annotations

import anyio
import pytest

from relay.config import configure
from relay.config.options import worded_for_python
from relay.net.descriptors import raise_descriptor_limit
from relay.probe import profile_as_toml
from relay.profiles import available
from support.namespaces import in_own_network
from support.probing import found_through
from support.probing_wire import make_devices
from support.round_trips import assert_ends, assert_idle, less_than_a_day

pytestmark = pytest.mark.system
_AT_ONCE = 6


@pytest.mark.timeout(300)  # on a host that is busy; else a tenth of it
def test_every_profile_comes_back(backend: str) -> None:
    """Half of them on asyncio, the others on trio; a few at a time."""
    names = [profile.name for profile in available()][backend == "trio" :: 2]
    assert in_own_network(lambda: anyio.run(wrong_of, names, backend=backend)) == {}


async def wrong_of(names: list[str]) -> dict[str, str]:
    """Which of these do not come back, and what was found of them."""
    raise_descriptor_limit()
    wrong: dict[str, str] = {}
    devices = iter(make_devices(len(names)))

    async def check(name: str) -> None:
        given = less_than_a_day(name)
        with worded_for_python(given) as spelt:
            profile = configure(name, listen=None, has_guests=True, settings=spelt).profile
        found = await found_through(name, next(devices), ["close", "tos", "idle", "idle-refresh"], **given)
        try:
            assert_ends(found, profile)
            assert_idle(found, profile)
        except AssertionError as error:
            wrong[name] = f"{error}\n{profile_as_toml(found, title=name, date='', source='', versions='')}"

    for few in range(0, len(names), _AT_ONCE):
        async with anyio.create_task_group() as tasks:
            for name in names[few : few + _AT_ONCE]:
                tasks.start_soon(check, name)
    return wrong
