"""What toxiproxy's clients ask becomes commands, in order: of a relay that takes note of them and carries nothing."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from relay.address import ANYWHERE, Endpoint, ForwardSpec
from relay.control import AdjustForward, CloseForward, LiftFault, OpenForward, SetFault
from relay.control_api.exchange import Refused, Request
from relay.control_api.toxiproxy import ToxiproxyRoutes
from relay.control_api.toxiproxy.upstreams import parse_upstream
from relay.events import Side
from relay.fault import Fault
from relay.shape import Shape
from support.bench import DEADLINE_S
from support.noting_relay import Asker

pytestmark = pytest.mark.anyio

_AT, _NEXT = Endpoint("127.0.0.1", 1001), Endpoint("127.0.0.1", 1002)
_SERVER = Endpoint("127.0.0.1", 9)
_LATE = Fault(side=Side.INTERNAL, shape=Shape(delay_s=0.1))
_TYPES = "latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data"
_LATENCY = {"type": "latency", "name": "late", "attributes": {"latency": 100}}


def opened(bind: Endpoint, *settings: str, target: Endpoint = _SERVER) -> OpenForward:
    return OpenForward(ForwardSpec(bind, target, settings))


@pytest.fixture
def asker() -> Asker:
    return Asker()


async def test_a_proxy_is_a_forward_and_its_toxics_are_that_forwards_faults(asker: Asker) -> None:
    made = await asker.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    assert made == {"name": "one", "listen": str(_AT), "upstream": "127.0.0.1:9", "enabled": True, "toxics": []}
    assert asker.done() == [opened(Endpoint("127.0.0.1", 0))]
    await asker.ask("POST", "/proxies/one/toxics", _LATENCY)
    assert asker.done() == [SetFault("late", _LATE, _AT)]
    await asker.ask("POST", "/proxies/one/toxics", {"type": "cut", "attributes": {"after_s": 1}})
    assert asker.done() == [AdjustForward(_AT, ("cut.after_s=1.0", "cut.direction=to-app"))]
    await asker.ask("POST", "/proxies/one", {"enabled": False})
    assert asker.done() == [CloseForward(_AT)]
    await asker.ask("POST", "/proxies/one", {"enabled": False})
    assert asker.done() == []
    await asker.ask("PATCH", "/proxies/one", {"enabled": True})
    assert asker.done() == [opened(_AT, "cut.after_s=1.0", "cut.direction=to-app"), SetFault("late", _LATE, _AT)]
    await asker.ask("POST", "/proxies/one", {"enabled": True})
    assert asker.done() == []
    assert await asker.ask("DELETE", "/proxies/one/toxics/cut_downstream") == 204
    assert asker.done() == [AdjustForward(_AT, ())]
    assert await asker.ask("DELETE", "/proxies/one/toxics/late") == 204
    assert asker.done() == [LiftFault("late", _AT)]
    assert await asker.ask("DELETE", "/proxies/one") == 204
    assert asker.done() == [CloseForward(_AT)]
    assert await asker.ask("GET", "/proxies") == {}


async def test_what_changes_of_a_disabled_proxy_is_asked_for_once_it_is_enabled(asker: Asker) -> None:
    made = await asker.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9", "enabled": False})
    assert (made["enabled"], made["listen"], asker.done()) == (False, "127.0.0.1:0", [])
    for toxic in (_LATENCY, {"type": "cut"}, {"type": "latency", "name": "gone"}, {"type": "loss", "name": "lost"}):
        await asker.ask("POST", "/proxies/one/toxics", toxic)
        assert asker.done() == []
    for name in ("gone", "lost"):
        await asker.ask("DELETE", f"/proxies/one/toxics/{name}")
        assert asker.done() == []
    await asker.ask("POST", "/proxies/one/toxics/late", {"attributes": {"latency": 200}})
    assert asker.done() == []
    await asker.ask("POST", "/proxies/one", {"enabled": True})
    late = Fault(side=Side.INTERNAL, shape=Shape(delay_s=0.2))
    assert asker.done() == [opened(Endpoint("127.0.0.1", 0), "cut.direction=to-app"), SetFault("late", late, _AT)]


async def test_a_reset_takes_every_toxic_away_and_enables_every_proxy(asker: Asker) -> None:
    for name in ("one", "two"):
        await asker.ask("POST", "/proxies", {"name": name, "upstream": "127.0.0.1:9"})
        await asker.ask("POST", f"/proxies/{name}/toxics", _LATENCY)
    await asker.ask("POST", "/proxies/two", {"enabled": False})
    assert await asker.ask("POST", "/reset") == 204
    assert asker.done() == [LiftFault("late", _AT), opened(_NEXT)]
    assert [(proxy.enabled, proxy.toxics) for proxy in asker.proxies.all().values()] == [(True, {})] * 2


async def test_a_proxy_that_leads_elsewhere_is_another_forward(asker: Asker) -> None:
    await asker.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    changed = await asker.ask("POST", "/proxies/one", {"upstream": "127.0.0.1:10"})
    assert asker.done() == [CloseForward(_AT), opened(_AT, target=Endpoint("127.0.0.1", 10))]
    assert (changed["upstream"], changed["listen"]) == ("127.0.0.1:10", str(_AT))
    await asker.ask("POST", "/proxies/one", {"listen": "127.0.0.1:5", "enabled": False})
    assert asker.done() == [CloseForward(_AT)]
    shown = await asker.ask("GET", "/proxies/one")
    assert (shown["listen"], shown["enabled"]) == ("127.0.0.1:5", False)
    await asker.ask("POST", "/proxies/one", shown)
    assert asker.done() == []


async def test_populate_makes_what_is_not_there_and_changes_what_is_other(asker: Asker) -> None:
    one, two = {"name": "one", "upstream": "127.0.0.1:9"}, {"name": "two", "upstream": "127.0.0.1:9", "enabled": False}
    assert await asker.status("POST", "/populate", [one, two]) == 201
    two |= {"enabled": True, "toxics": []}
    told = await asker.ask("POST", "/populate", [one, two])
    assert asker.done() == [opened(Endpoint("127.0.0.1", 0))]
    assert [(proxy["name"], proxy["listen"]) for proxy in told["proxies"]] == [("one", str(_AT)), ("two", str(_NEXT))]
    wrong = [{"name": "three", "upstream": "127.0.0.1:9"}, {"name": "four", "upstream": "nowhere"}]
    assert (await asker.refused("POST", "/populate", wrong))[0] == 400
    assert asker.done() == [], "all of them are read before the first is made"
    assert (await asker.refused("POST", "/populate", {"a": 1}))[:2] == (
        400,
        "populate: the body is no array of proxies",
    )
    assert (await asker.refused("POST", "/populate", [1]))[1] == "proxy: 1 is no object"


async def test_forwards_of_others_are_proxies_by_their_address(asker: Asker) -> None:
    relay = asker.relay
    relay.targets = {_AT: _SERVER, _NEXT: ANYWHERE}
    relay.forward_settings = {_AT: ("cut.after_s=1",)}
    assert {name: proxy["upstream"] for name, proxy in (await asker.ask("GET", "/proxies")).items()} == {
        str(_AT): "127.0.0.1:9",
        str(_NEXT): "any://",
    }
    await asker.ask("POST", f"/proxies/{_AT}/toxics", {"type": "loss"})
    assert asker.done() == [AdjustForward(_AT, ("cut.after_s=1", "loss.direction=to-app"))]
    del relay.targets[_AT]
    assert (await asker.ask("GET", f"/proxies/{_AT}"))["enabled"] is False
    relay.targets[_AT] = ANYWHERE
    shown = await asker.ask("GET", f"/proxies/{_AT}")
    assert (shown["enabled"], shown["upstream"], shown["toxics"]) == (True, "any://", [])


async def test_requests_that_change_something_are_carried_out_one_after_the_other(asker: Asker) -> None:
    outcomes: list[str] = []

    async def ask(path: str, body: Any) -> None:
        try:
            await asker.ask("POST", path, body)
            outcomes.append("made")
        except Refused as refused:
            outcomes.append(str(refused))

    async def at_once(path: str, body: Any, times: int = 2) -> list[str]:
        outcomes.clear()
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                for _ in range(times):
                    tasks.start_soon(ask, path, body)
        return outcomes

    assert await at_once("/proxies", {"name": "one", "upstream": "127.0.0.1:9"}) == ["made", "proxy already exists"]
    assert await at_once("/proxies/one/toxics", _LATENCY) == ["made", "toxic already exists"]
    assert await at_once("/proxies/one", {"upstream": "127.0.0.1:8"}) == ["made"] * 2
    assert await at_once("/reset", {}) == ["made"] * 2
    assert await at_once("/populate", [{"name": "two", "upstream": "127.0.0.1:9"}]) == ["made"] * 2
    assert list(asker.relay.targets.values()) == [Endpoint("127.0.0.1", 8), _SERVER]


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", "/proxies/none", None, (404, "proxy not found", "")),
        ("GET", "/proxies/one/toxics/none", None, (404, "toxic not found", "")),
        ("DELETE", "/proxies/none", None, (404, "proxy not found", "")),
        ("PUT", "/proxies/one/toxics/late", None, (405, "PUT is not for this path", "")),
        ("GET", "/reset", None, (405, "GET is not for this path", "")),
        ("GET", "/populate", None, (405, "GET is not for this path", "")),
        (
            "POST",
            "/proxies",
            {"name": "b", "upstream": "c:1", "listen": "127.0.0.1:7"},
            (500, "listen: cannot listen on 127.0.0.1:7: taken", "name another"),
        ),
        ("POST", "/proxies", {"name": "b", "upstream": "c:1", "listen": "x"}, (400, "listen: cannot read 'x'", "")),
        ("POST", "/proxies/one", {"colour": 1}, (400, "proxy: unknown field 'colour'", "")),
        ("POST", "/proxies/one/toxics", {"type": "latency", "colour": 1}, (400, "toxic: unknown field 'colour'", "")),
        ("POST", "/proxies/one/toxics/late", {"colour": 1}, (400, "toxic: unknown field 'colour'", "")),
        (
            "POST",
            "/proxies/one/toxics",
            {"type": "x"},
            (
                400,
                "invalid toxic type: 'x'",
                f"the types: {_TYPES}, profile, and the name of any behaviour",
            ),
        ),
        (
            "POST",
            "/proxies/one/toxics",
            {"type": "latency", "stream": "x"},
            (400, "stream was invalid: 'x'", "it is upstream or downstream"),
        ),
        (
            "POST",
            "/proxies",
            {"name": "b", "upstream": "c:1", "listen": ":80"},
            (
                403,
                "listen: 0.0.0.0:80 is beyond loopback",
                "start the relay with --allow-open to have forwards that every host reaches",
            ),
        ),
    ],
)
async def test_what_cannot_be_done_has_its_status_and_its_hint(
    asker: Asker, method: str, path: str, body: Any, said: tuple[int, str, str]
) -> None:
    await asker.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    await asker.ask("POST", "/proxies/one/toxics", _LATENCY)
    status, line, hint = await asker.refused(method, path, body)
    assert (status, line) == said[:2]
    assert not said[2] or hint == said[2]


async def test_paths_of_others_are_not_answered_and_with_leave_every_host_is_listened_for() -> None:
    asker = Asker(beyond_loopback=True)
    routes = ToxiproxyRoutes(asker.proxies)
    for path in ("/version", "/proxies/one/toxics/late/more", "/relay/v1"):
        assert await routes.answer(Request("GET", path, {})) is None
    await asker.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9", "listen": ":80"})
    assert asker.done() == [opened(Endpoint("0.0.0.0", 80))]


async def test_places_that_are_no_server_are_settings_of_the_forward(asker: Asker) -> None:
    nowhere = Endpoint("nowhere.invalid", 0)
    for place, target, settings in (
        ("any://", ANYWHERE, ()),
        ("refuse://", nowhere, ("refuse.failure=refused",)),
        ("blackhole://", nowhere, ("refuse.failure=silence", "refuse.silence_s=86400")),
    ):
        made = await asker.ask("POST", "/proxies", {"name": place, "upstream": place})
        assert asker.done() == [opened(Endpoint("127.0.0.1", 0), *settings, target=target)]
        assert (made["upstream"], str(parse_upstream(place))) == (place, place)


async def test_a_toxic_is_changed_in_what_is_given_and_one_behaviour_is_one_toxics(asker: Asker) -> None:
    toxics = "/proxies/one/toxics"
    await asker.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    await asker.ask("POST", toxics, _LATENCY | {"toxicity": 0.5, "stream": "upstream"})
    changed = await asker.ask("PATCH", f"{toxics}/late", {"attributes": {"jitter": 7}, "name": "x", "stream": "y"})
    attributes = {"latency": 100, "jitter": 7}
    assert changed == {
        "name": "late",
        "type": "latency",
        "stream": "upstream",
        "toxicity": 0.5,
        "attributes": attributes,
    }
    fault = Fault(side=Side.EXTERNAL, shape=Shape(delay_s=0.1, jitter_s=0.007), share=0.5)
    assert asker.done() == [SetFault("late", fault, _AT)]
    await asker.ask("POST", toxics, {"type": "cut", "name": "a", "attributes": {"at_request": 2}})
    await asker.ask("POST", f"{toxics}/a", {"attributes": {"how": "fin"}, "toxicity": 0.25})
    assert asker.done() == [
        AdjustForward(_AT, ("cut.at_request=2", "cut.how=fin", "cut.direction=to-app", "cut.when.share=0.25"))
    ]
    status, line, hint = await asker.refused("POST", toxics, {"type": "cut", "name": "b"})
    assert (status, line, hint) == (409, "the proxy has cut by its toxic 'a'", "change that one: POST .../toxics/a")
    profile = {"type": "profile", "attributes": {"name": "slirp"}}
    await asker.ask("POST", toxics, {"name": "p", **profile})
    said = await asker.refused("POST", toxics, {"name": "q", **profile})
    assert said[1] == "the proxy has profile by its toxic 'p'"
    wrong: tuple[dict[str, object], ...] = ({"name": 7}, {}, {"name": "slirp", "more": 1})
    for given in wrong:
        status, line, hint = await asker.refused("POST", toxics, profile | {"attributes": given})
        assert (status, line) == (400, "toxic: profile: its only attribute is name")
        assert hint == 'e.g. {"name": "aws-nat-gateway"}'
    shown = await asker.ask("GET", toxics)
    assert [toxic["name"] for toxic in shown] == ["late", "a", "p"]
    assert await asker.ask("GET", f"{toxics}/late") == shown[0]


async def test_with_parity_what_toxiproxy_does_not_know_is_ignored_and_else_refused() -> None:
    proxy = {"name": "one", "upstream": "127.0.0.1:9", "comment": "mine"}
    late = {**_LATENCY, "attributes": {"latency": 100, "drift": 1}, "owner": "me"}
    lenient, strict = Asker(parity=True), Asker()
    assert (await lenient.ask("POST", "/populate", [proxy]))["proxies"][0]["name"] == "one"
    assert (await lenient.ask("POST", "/proxies/one", {"enabled": True, "comment": "yours"}))["enabled"]
    made = await lenient.ask("POST", "/proxies/one/toxics", late)
    assert made["attributes"] == {"latency": 100, "jitter": 0}
    assert lenient.done() == [SetFault("late", _LATE, _AT)]
    assert (await strict.refused("POST", "/populate", [proxy]))[:2] == (400, "proxy: unknown field 'comment'")
    await strict.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    told = await strict.refused("POST", "/proxies/one/toxics", late)
    assert told[:2] == (400, "toxic: attributes: unknown field 'drift'")
    assert (await lenient.refused("POST", "/proxies/one/toxics/late", {"toxicity": 2}))[0] == 400
