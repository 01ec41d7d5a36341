"""How a relay is put together: what its configuration makes of it, and what keeps it from starting."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from relay.address import Endpoint
from relay.config import configure
from relay.errors import ConfigError, Unsupported
from relay.frontends.listening import ForwardFrontEnd, ProxyFrontEnd
from relay.log import EventLog
from relay.server import Share, open_relay, ways_in
from support.serving import serving

pytestmark = pytest.mark.anyio

FORWARD = "127.0.0.1:0:127.0.0.1:9"


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        ({"listen": "127.0.0.1:0"}, [ProxyFrontEnd.support]),
        ({"listen": None, "forwards": [FORWARD]}, [ForwardFrontEnd.support]),
        ({"listen": None, "inbound": [FORWARD]}, [ForwardFrontEnd.support]),
        ({"listen": "127.0.0.1:0", "forwards": [FORWARD]}, [ProxyFrontEnd.support, ForwardFrontEnd.support]),
        ({"listen": None, "has_guests": True}, []),
    ],
)
def test_connections_come_in_by_what_listens(options: dict[str, Any], ways: list[object]) -> None:
    assert ways_in(configure(**options)) == ways


async def test_the_configuration_is_what_flows_are_made_with() -> None:
    async with serving(
        connect_timeout_s=3.0, handshake_timeout_s=4.0, max_flows=5, seed=6, source="127.0.0.3", clock="manual"
    ) as nat:
        driver = nat.relay._driver
        assert (driver.connector.timeout_s, driver.connector.source) == (3.0, "127.0.0.3")
        assert (driver.limits.handshake_timeout_s, driver.limits.max_flows) == (4.0, 5)
        assert nat.relay.seed == 6
        before_s = driver.engine.nat.now_s()
        assert driver.engine.nat.now_s() == before_s, "it stands still"


async def test_without_a_manual_clock_the_nats_runs() -> None:
    async with serving() as nat:
        before_s = nat.relay._driver.engine.nat.now_s()
        while nat.relay._driver.engine.nat.now_s() == before_s:
            pass


@pytest.mark.parametrize(("share", "numbers"), [(None, [1, 2]), (Share(first_flow=3, of=4), [3, 7])])
async def test_flows_are_numbered_in_steps_of_as_many_relays_as_share(share: Share | None, numbers: list[int]) -> None:
    async with serving(share=share) as nat:
        driver = nat.relay._driver
        assert [driver._last_flow + times * driver._flow_step for times in (1, 2)] == numbers
        assert nat.relay._listeners._context.shared == (share is not None)
        assert nat.relay._commands._in_step == (share is not None)


async def test_a_relay_dials_only_from_this_hosts_addresses() -> None:
    with pytest.raises(ConfigError, match=r"--source: 192\.0\.2\.1 is not this host's"):
        async with serving(source="192.0.2.1"):
            raise AssertionError("it serves")


@pytest.mark.parametrize("option", ["forwards", "inbound"])
async def test_strict_is_about_the_settings_of_forwards_too(option: str) -> None:
    for setting in ("", " cut.at_request=1"):
        possible: dict[str, Any] = {option: [FORWARD + setting]}
        async with serving("slirp", strict=True, **possible):
            pass
    impossible: dict[str, Any] = {option: [FORWARD, FORWARD + " profile=transparent"]}
    async with serving("slirp", **impossible):
        pass
    with pytest.raises(Unsupported, match="--strict: this host cannot show"):
        async with serving("slirp", strict=True, **impossible):
            raise AssertionError("it serves")


async def test_strict_is_about_the_profile() -> None:
    async with serving("transparent", listen="127.0.0.1:0"):
        pass
    with pytest.raises(Unsupported, match="--strict: this host cannot show"):
        async with serving("transparent", listen="127.0.0.1:0", strict=True):
            raise AssertionError("it serves")


async def test_an_address_that_is_taken_leaves_nothing_open_and_no_record() -> None:
    records: list[object] = []
    log = EventLog()
    log.subscribe(records.append)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Endpoint(*other.getsockname())
        config = configure(listen="127.0.0.1:0", observer="none", forwards=[f"{taken}:127.0.0.1:9"])
        with pytest.raises(ConfigError, match="--forward: cannot listen"):
            async with open_relay(replace(config), log):
                raise AssertionError("it serves")
    assert [str(each.event) for each in records] == ["relay-stopped"]  # type: ignore[attr-defined]
