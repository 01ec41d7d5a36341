"""Bytes arrive intact where packets between a real guest and the relay are lost, doubled and swapped."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import anyio
import pytest

from relay.config import configure
from relay.log import EventLog
from relay.server import open_relay
from relay.wire.frontend import WireFrontEnd
from relay.wire.guest_network import GuestNetwork
from relay.wire.namespace.opening import open_namespace
from support.bad_link import BadLink, Done, Faults
from support.behind_nat import HOST
from support.capabilities import need_root
from support.origins import Origin, echo

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's"),
]

TESTS = Path(__file__).parents[1]
SOAK = bool(os.environ.get("RELAY_SOAK"))
SIZE_BYTES = 100_000_000 if SOAK else 4_000_000
WITHIN_S = 600 if SOAK else 60
FAULTS = {
    "loss": Faults(loss=0.01),
    "duplication": Faults(duplication=0.05),
    "swaps": Faults(swap=0.05),
    "all of it": Faults(loss=0.005, duplication=0.02, swap=0.02),
}


async def echoed(directory: Path, faults: Faults, profile: str, *, offload: bool) -> tuple[int, tuple[Done, Done]]:
    """How many bytes a guest got back as it had sent them, and how many packets came to harm either way."""
    config = configure(profile, listen=None, has_guests=True, seed=7)
    network, told = GuestNetwork(), directory / "told"
    with Origin(echo) as origin:
        words = [sys.executable, "-m", "support.echoed_guest", HOST, str(origin.port), str(SIZE_BYTES)]
        command = ["sh", "-c", f"PYTHONPATH={shlex.quote(str(TESTS))} {shlex.join(words)} > {shlex.quote(str(told))}"]
        namespace = await open_namespace(command, network.addresses, offload=offload)
        try:
            link = BadLink(namespace.link, faults, seed=7)
            front_end = WireFrontEnd(link, config.profile.stack.build(), network, config.seed)
            async with open_relay(config, EventLog(), front_ends=[front_end]):
                namespace.start()
                with anyio.fail_after(WITHIN_S):
                    assert await namespace.wait() == 0
        finally:
            namespace.close()
    return int(told.read_text()), link.done


@pytest.mark.soak
@pytest.mark.timeout(WITHIN_S + 60)
@pytest.mark.parametrize("offload", [True, False], ids=["super-segments", "segments"])
@pytest.mark.parametrize("kind", FAULTS)
async def test_both_ways_at_once_are_intact(tmp_path: Path, kind: str, offload: bool) -> None:
    need_root()
    intact_bytes, done = await echoed(tmp_path, FAULTS[kind], "vmware-fusion", offload=offload)
    assert intact_bytes == SIZE_BYTES
    faults = FAULTS[kind]
    for harmed in done:
        assert (harmed.lost > 0, harmed.doubled > 0, harmed.swapped > 0) == (
            faults.loss > 0,
            faults.duplication > 0,
            faults.swap > 0,
        )


@pytest.mark.timeout(WITHIN_S + 60)
async def test_the_control_profile_is_intact_too(tmp_path: Path) -> None:
    need_root()
    intact_bytes, _ = await echoed(tmp_path, FAULTS["all of it"], "transparent", offload=False)
    assert intact_bytes == SIZE_BYTES
