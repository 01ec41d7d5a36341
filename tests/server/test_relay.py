"""A relay's plain calls: what each does, and what the log says of it."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from relay.address import ANYWHERE, Endpoint, ForwardSpec, ResolveOverride
from relay.backend import running_backend
from relay.control import AdjustForward, CloseForward, OpenForward
from relay.errors import ConfigError
from relay.events import Side
from relay.observe import Observers
from support.bench import DEADLINE_S
from support.origins import reset
from support.serving import serving

pytestmark = pytest.mark.anyio

TARGET = Endpoint("127.0.0.1", 9)
SPEC = ForwardSpec(Endpoint("127.0.0.1", 0), TARGET)


async def test_the_log_begins_with_what_serves_and_where() -> None:
    async with serving(
        "vmware-fusion",
        listen="127.0.0.1:0",
        forwards=["127.0.0.1:0:127.0.0.1:9"],
        inbound=["127.0.0.1:0:127.0.0.2:10"],
        seed=7,
        time_scale=2.0,
    ) as nat:
        (forward,), (inbound,) = nat.relay.forward_addresses, nat.relay.inbound_addresses
        assert nat.fields("relay-started") == {
            "profile": nat.relay.profile.name,
            "listen": str(nat.relay.address),
            "forwards": [f"{forward} -> 127.0.0.1:9"],
            "inbound": [f"{inbound} -> 127.0.0.2:10"],
            "wire": [],
            "seed": 7,
            "time_scale": 2.0,
            "backend": running_backend(),
            "workers": 1,
            "fidelity": {each.quirk.name: str(each.support.fidelity.value) for each in nat.relay.fidelity},
        }
        assert nat.relay.fidelity
        assert (nat.relay.seed, nat.relay.time_scale) == (7, 2.0)
        assert nat.relay.targets == {forward: TARGET, inbound: Endpoint("127.0.0.2", 10)}


async def test_a_relay_without_a_proxy_listens_where_its_forwards_do_alone() -> None:
    async with serving(forwards=["127.0.0.1:0:127.0.0.1:9"]) as nat:
        assert nat.relay.address is None
        assert nat.fields("relay-started")["listen"] is None


class Link:
    """A way in that listens nowhere."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def open(self, host: object) -> None:
        self.calls.append("open")

    def close(self) -> None:
        self.calls.append("close")

    def describe(self) -> str:
        return "a link"

    def support(self, want: object) -> None:
        return None


async def test_other_ways_in_are_opened_last_described_and_closed_once() -> None:
    link = Link()
    async with serving(front_ends=[link]) as nat:
        assert nat.relay.wire == nat.fields("relay-started")["wire"] == ["a link"]
        assert link.calls == ["open"]
        await nat.relay.drain(0.0)
        assert link.calls == ["open", "close"]
    assert link.calls == ["open", "close"]


async def test_every_call_leaves_its_record() -> None:
    async with serving("vmware-fusion", listen="127.0.0.1:0", clock="manual") as nat:
        relay = nat.relay
        relay.freeze("app")
        relay.thaw(Side.INTERNAL)
        relay.link_down()
        relay.adjust("tos-reset.mask=0xFC", "tos-reset.external_close_delay_ms=1")
        assert relay.profile.tos_mask == 0xFC
        relay.time_scale, relay.seed = 3.0, 11
        assert (relay.time_scale, relay.seed) == (3.0, 11)
        assert [str(each.event) for each in await relay.advance(5.0)] == ["time-advanced"]
        assert nat.events() == ["frozen", "thawed", "link-down", "settings-changed", "time-advanced"]
        assert [nat.fields(each)["side"] for each in ("frozen", "thawed")] == ["internal", "internal"]
        assert nat.fields("settings-changed")["settings"] == [
            "tos-reset.mask=0xFC",
            "tos-reset.external_close_delay_ms=1",
        ]
        assert nat.fields("time-advanced")["by_s"] == 5.0
        assert not relay.holds_records
        assert (await relay.count_up()).flows == relay.totals.flows == 0
        await relay.drain(0.25)
        assert nat.fields("relay-draining") == {"flows": 0, "at_most_s": 0.25}
        assert relay.address is not None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(relay.address, DEADLINE_S)


async def test_a_forward_comes_goes_and_changes() -> None:
    async with serving() as nat:
        relay = nat.relay
        out = relay.forward(SPEC)
        into = relay.forward(SPEC, "server")
        with pytest.warns(DeprecationWarning, match=r"forward\(opener=\.\.\.\)"):
            also_into = relay.forward(SPEC, opener=Side.EXTERNAL)
        assert (relay.forward_addresses, relay.inbound_addresses) == ([out], [into, also_into])
        assert relay.targets == dict.fromkeys((out, into, also_into), TARGET)
        assert {out, into} <= relay._driver.connector.own_addresses
        relay.do(AdjustForward(out, ("cut.at_request=1",)))
        assert nat.fields("forward-changed") == {"forward": str(out), "settings": ["cut.at_request=1"]}
        assert relay.forward_settings == {out: ("cut.at_request=1",)}
        assert relay.do(CloseForward(out)) == 0
        relay.do(CloseForward(also_into))
        assert (relay.forward_addresses, relay.inbound_addresses) == ([], [into])
        assert (relay.targets, relay.forward_settings) == ({into: TARGET}, {})
        assert relay._driver.forward_profiles == {}
        assert relay._driver.connector.own_addresses == {into}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(out, DEADLINE_S)
        with pytest.raises(ConfigError, match="no forward listens at"):
            relay.do(CloseForward(out))


async def test_a_listener_sees_the_bits_that_matter_to_its_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    covered: list[tuple[int, int]] = []
    monkeypatch.setattr(
        Observers, "cover", lambda _, sock, mask: covered.append((sock.getsockname()[1], mask)), raising=True
    )
    async with serving("vmware-fusion", listen="127.0.0.1:0") as nat:
        assert nat.relay.address is not None
        proxy = nat.relay.address.port
        assert covered == [(proxy, 0xE0)]
        address = nat.relay.forward(replace(SPEC, settings=("tos-reset.mask=0xF0",)))
        assert covered[-1] == (address.port, 0xF0)
        covered.clear()
        nat.relay.adjust("tos-reset.mask=0xFC")
        assert covered == [(proxy, 0xFC), (address.port, 0xF0)]
        nat.relay.do(AdjustForward(address, ()))
        assert covered[-1] == (address.port, 0xFC)
        with pytest.raises(ConfigError) as raised:
            nat.relay.adjust("stack.mss=1400")
        assert raised.value.hint == "start another one with them, e.g. relay run --set stack.mss=1400"
        with pytest.raises(ConfigError):
            nat.relay.adjust("profile=slirp")
        assert nat.relay.profile.tos_mask == 0xFC
        await nat.relay.drain(0.0)
        covered.clear()
        nat.relay.adjust("tos-reset.mask=0xE0")
        assert covered == []


async def test_a_setting_of_the_stack_may_be_given_again_as_it_is() -> None:
    async with serving(listen="127.0.0.1:0", settings=["stack.udp_idle_s=7"]) as nat:
        nat.relay.adjust("stack.udp_idle_s=7")
        with pytest.raises(ConfigError, match="that the relay was started with"):
            nat.relay.adjust("stack.udp_idle_s=8")


async def test_the_proxy_is_no_forward() -> None:
    async with serving(listen="127.0.0.1:0") as nat:
        assert nat.relay.address is not None
        for command in (CloseForward(nat.relay.address), AdjustForward(nat.relay.address, ())):
            with pytest.raises(ConfigError, match="no forward listens at"):
                nat.relay.do(command)
        assert nat.relay._driver.connector.own_addresses == {nat.relay.address}


async def test_a_forward_that_cannot_be_as_it_was_asked_for_opens_nothing() -> None:
    async with serving() as nat:
        for spec, initiator, says in (
            (replace(SPEC, settings=("cut.at=1",)), Side.INTERNAL, "cut has no setting"),
            (replace(SPEC, target=ANYWHERE), Side.EXTERNAL, "target: any:// is no server of the guest's"),
            (replace(SPEC, bind=Endpoint("192.0.2.1", 0)), Side.INTERNAL, "bind: cannot listen"),
        ):
            with pytest.raises(ConfigError, match=says):
                nat.relay.do(OpenForward(spec, initiator))
        assert nat.relay.targets == {}
        assert nat.relay._listeners._listening == []


async def test_leaving_the_block_ends_flows_and_counts_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with serving() as nat:
            address = nat.relay.forward(replace(SPEC, target=Endpoint(*server.getsockname())))
            with socket.create_connection(address):
                await nat.until_flows(1)
        assert (nat.events()[-1], nat.fields("relay-stopped")) == ("relay-stopped", {"flows_ended": 1})


async def test_to_wait_until_idle_or_to_drain_takes_so_long_at_most() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with serving() as nat:
            address = nat.relay.forward(replace(SPEC, target=Endpoint(*server.getsockname())))
            app = socket.create_connection(address)
            with anyio.fail_after(DEADLINE_S):
                await nat.until_flows(1)
                await nat.relay.wait_until_idle(0.001)
                await nat.relay.drain(0.001)
                assert nat.relay.flow_count == 1
                reset(app)
                await nat.relay.wait_until_idle(2 * DEADLINE_S)
                assert nat.relay.flow_count == 0
        assert nat.fields("relay-draining")["flows"] == 1, "by now no record is held back"


async def test_a_limit_is_gone_with_its_block_and_one_that_is_over_cancels_it() -> None:
    async with serving() as nat:
        with nat.relay.limited(0.001):
            await anyio.sleep(DEADLINE_S)
            raise AssertionError("it was not cancelled")
        with nat.relay.limited(60.0):
            pass
        timers = nat.relay._driver.engine._timers
        assert all(timer.take() is None for _, _, timer in timers._heap)


async def test_a_name_is_answered_from_then_on() -> None:
    async with serving(resolve=["b.test:80:192.0.2.2"]) as nat:
        nat.relay.resolve_as(ResolveOverride("a.test", 80, "192.0.2.1"))
        known = nat.relay._driver.connector.known
        assert [known(Endpoint(name, 80)) for name in ("a.test", "b.test")] == [
            [(socket.AF_INET, (address, 80))] for address in ("192.0.2.1", "192.0.2.2")
        ]


async def test_what_runs_beside_it_may_fail_and_the_log_says_how() -> None:
    async def fail() -> None:
        raise ValueError("as the test has it")

    async with serving() as nat:
        nat.relay.run_beside(fail)
        with anyio.fail_after(DEADLINE_S):
            while not nat.events():
                await anyio.lowlevel.checkpoint()
        fields: dict[str, Any] = nat.fields("fault")
        assert fields["error"] == "ValueError: as the test has it"
        assert Path(__file__).name in fields["traceback"]


async def test_the_log_says_when_nothing_is_accepted_for_a_while() -> None:
    async with serving() as nat:
        context = nat.relay._listeners._context
        context.resting("too many open files")
        context.resumed()
        assert nat.events() == ["accept-paused", "accept-resumed"]
        assert nat.fields("accept-paused") == {"reason": "too many open files"}
