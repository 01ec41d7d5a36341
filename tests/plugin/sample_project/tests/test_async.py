from __future__ import annotations

import asyncio

import anyio
import greeter
import pytest

from relay.testing import RunningRelay


@pytest.mark.asyncio
async def test_with_pytest_asyncio(nat_relay: RunningRelay, server: tuple[str, int]) -> None:
    address = nat_relay.forward(*server)
    assert await greeter.greet_on_asyncio(*address, "ann") == "hello ann"
    with pytest.raises(ConnectionError):
        await greeter.greet_on_asyncio(*address, "bob", tos=0x48)
    await asyncio.to_thread(nat_relay.wait_for, "flow-ended", because="tos-reset")


@pytest.mark.anyio
async def test_with_anyio(nat_relay: RunningRelay, server: tuple[str, int], anyio_backend_name: str) -> None:
    address = nat_relay.forward(*server)
    assert await greeter.greet_on_anyio(*address, "ann") == "hello ann"
    with pytest.raises(anyio.BrokenResourceError):
        await greeter.greet_on_anyio(*address, "bob", tos=0x48)
    await anyio.to_thread.run_sync(lambda: nat_relay.wait_for("flow-ended", because="tos-reset"))
