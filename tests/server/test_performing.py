"""What commands do to a relay whose flows are open: how they are listed, delayed and moved on in time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import anyio
import pytest

from relay.address import Endpoint, ForwardSpec
from relay.control import Advance, LiftFault, ListFaults, ListFlows, SetFault
from relay.errors import ConfigError
from relay.events import Side
from relay.fault import Fault
from relay.server import Share
from relay.shape import Shape
from support.bench import DEADLINE_S
from support.serving import serving

pytestmark = pytest.mark.anyio

SPEC = ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", 9))


async def test_faults_are_set_listed_and_lifted_and_are_for_forwards_that_exist() -> None:
    fault = Fault(side=Side.EXTERNAL, shape=Shape(delay_s=0.5))
    async with serving() as nat:
        address = nat.relay.forward(SPEC)
        with pytest.raises(ConfigError, match="no forward listens at"):
            nat.relay.do(SetFault("slow", fault, Endpoint("127.0.0.1", 1)))
        for forward in (None, address):
            nat.relay.do(SetFault("slow", fault, forward))
        assert nat.relay.do(ListFaults()) == [SetFault("slow", fault, each) for each in (None, address)]
        assert nat.relay.do(LiftFault("slow", address)) is True
        assert nat.relay.do(LiftFault("slow", address)) is False
        assert nat.relay.do(ListFaults()) == [SetFault("slow", fault, None)]


async def test_open_flows_are_listed_by_number_with_what_they_have_carried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with serving(clock="manual") as nat:
            address = nat.relay.forward(replace(SPEC, target=Endpoint(*server.getsockname())))
            with socket.create_connection(address) as one, socket.create_connection(address) as two:
                await nat.until_flows(2)
                await nat.relay.advance(2.5)
                flows = nat.relay.do(ListFlows())
                assert [each.number for each in flows] == [1, 2]
                assert [each.client for each in flows] == ["{}:{}".format(*each.getsockname()) for each in (one, two)]
                for each in flows:
                    assert (each.destination, each.forward) == ("{}:{}".format(*server.getsockname()), address)
                    assert (each.bytes_out, each.bytes_in) == (0, 0)
                    assert each.age_s == pytest.approx(2.5)
                two.sendall(b"abc")
                with anyio.fail_after(DEADLINE_S):
                    while nat.relay.do(ListFlows())[1].bytes_out != 3:  # noqa: ASYNC110 - the relay's own task moves them
                        await anyio.sleep(0.001)
                flow = nat.relay.do(ListFlows())[1]
                assert (flow.received_out, flow.received_in, flow.bytes_in) == (3, 0, 0)
                assert nat.relay.stop() == 2
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(address, DEADLINE_S)
            assert nat.relay.flow_count == 0
        ended = [each.fields["because"] for each in nat.records if each.event == "flow-ended"]
        assert ended == ["shutdown"] * 2
        assert (nat.events()[-1], nat.fields("relay-stopped")) == ("relay-stopped", {"flows_ended": 0})


async def test_the_clock_is_advanced_by_one_command_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    async def follow(*arguments: object) -> None:
        steps.append("begin")
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        steps.append("end")

    monkeypatch.setattr("relay.server.performing.follow", follow)
    async with serving() as nat, anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(nat.relay.advance, 1.0)
    assert steps == ["begin", "end"] * 2


@pytest.mark.parametrize("share", [None, Share(first_flow=1, of=2)])
async def test_only_an_advance_that_may_wait_waits_for_processes(
    share: Share | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def noting(_: object, seconds: float, *, credit: bool, waits: bool, in_step: bool) -> Iterator[None]:
        asked.append((seconds, credit, waits, in_step))
        yield from ()

    monkeypatch.setattr("relay.server.performing.advance", noting)
    async with serving(share=share) as nat:
        await nat.relay.advance(1.0)
        nat.relay.do(Advance(2.0, "ignore"))
    in_step = share is not None
    assert asked == [(1.0, True, True, in_step), (2.0, False, False, in_step)]
