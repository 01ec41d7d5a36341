"""Relays in wire mode in the test's own event loop, each before a device of its own; the probe's end is behind it.

To be used in a network of the test's own (`in_own_network`), which is both the guest's and the host's: a relay's host
address leads through its device to the relay, and from there over loopback to the probe server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from relay.config import configure
from relay.config.guest import configure_guest
from relay.config.options import worded_for_python
from relay.handles import AsyncRelay
from relay.log import EventLog
from relay.log.memory import Records
from relay.profiles import Profile
from relay.server import open_relay
from relay.wire.guests import Guests
from relay.wire.link.spec import parse_wire
from support.capabilities import need_program
from support.programs import run

DEVICE = "tun"
"""What the devices' names begin with."""


def make_devices(count: int) -> list[str]:
    """So many devices, each with a network of its own: 10.77.N.0/24, in which the host is .1."""
    names = [f"{DEVICE}{number}" for number in range(count)]
    lines = [
        line
        for number, name in enumerate(names)
        for line in (
            f"tuntap add mode tun name {name}",
            f"address add 10.77.{number}.128/24 dev {name}",
            f"link set {name} up",
        )
    ]
    made = run(need_program("ip"), "-batch", "-", input_="\n".join(lines))
    assert made.returncode == 0, made.stderr
    return names


@asynccontextmanager
async def wired(
    profile: str | Profile, device: str, *, time_scale: float, **settings: Any
) -> AsyncIterator[tuple[AsyncRelay, str]]:
    """A relay before this device, and the address that leads through it to this host's loopback."""
    network = f"10.77.{device.removeprefix(DEVICE)}.0/24"
    with worded_for_python(settings) as spelt:
        config = configure(profile, listen=None, has_guests=True, settings=spelt, seed=1, time_scale=time_scale)
    guests = Guests((parse_wire(f"tun:{device}"),), configure_guest(network), offload=False)
    log, records = EventLog(), Records()
    log.subscribe(records)
    with guests.front_ends(config.profile.stack.build(), 1) as front_ends:
        async with open_relay(config, log, front_ends=front_ends) as relay:
            try:
                yield AsyncRelay(relay, records), network.replace(".0/24", ".1")
            finally:
                records.complete("the relay has stopped")
