"""A relay in a thread of its own, started and steered by a program that runs an event loop itself."""

from __future__ import annotations

import anyio
import pytest

from relay.control import Advance, ListFlows
from relay.errors import ConfigError
from relay.testing import serve_in_thread
from support.origins import Origin, echo

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("serving", ["asyncio", "trio"])
async def test_a_relay_in_a_thread_serves_a_program_with_a_loop_of_its_own_and_stops(serving: str) -> None:
    with Origin(echo) as origin:
        with serve_in_thread("transparent", backend=serving) as nat:
            address = nat.forward(origin.host, origin.port)
            async with await anyio.connect_tcp(*address) as stream:
                await stream.send(b"hello")
                assert await stream.receive() == b"hello"
                assert [flow.bytes_out for flow in nat.do(ListFlows())] == [5]
                nat.freeze("server")
                nat.thaw("server")
                with pytest.raises(ConfigError, match="-1"):
                    nat.do(Advance(-1))
            nat.drain(5)
        assert {"flow-ended", "relay-draining"} < {record.event for record in nat.events}
        assert nat.events[-1].event == "relay-stopped"


async def test_what_is_wrong_with_it_and_what_the_block_raises_comes_through(backend: str) -> None:
    elsewhere = {"listen": "192.0.2.1:1", "allow_open": True}
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"), serve_in_thread(backend=backend, **elsewhere):  # type: ignore[arg-type]
        pass
    with pytest.raises(KeyError, match="mine"), serve_in_thread(backend=backend):
        raise KeyError("mine")
