"""The fixture, `serve_in_thread` and `open_relay` are one API: the same names, arguments, annotations and docs."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from relay import AsyncRelay, EventType, RelayHandle, ResolveOverride, RunningRelay, open_relay, serve_in_thread
from relay.actions import SendRst, StartTimer
from relay.address import ANYWHERE, Endpoint, ForwardSpec
from relay.behaviours import Actions, Behaviour, setting
from relay.config import configure
from relay.control import Adjust, CloseForward, OpenForward, SetFault, SetTimeScale
from relay.errors import ConfigError
from relay.events import DialSucceeded, Side, TimerFired
from relay.fault import Fault
from relay.testing import RelayFactory
from support.capabilities import need_tos
from support.origins import Origin, echo, read_exactly

AWAITED = {"wait_for", "assert_used", "log_text", "await_records", "advance", "expire", "drain"}


def verbs(kind: type) -> dict[str, Any]:
    """What is public of a class, inherited or not."""
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}


def shape(member: Any) -> object:
    """What a caller sees of a method or an attribute."""
    if isinstance(member, property):
        return [shape(function) for function in (member.fget, member.fset) if function is not None]
    signature = inspect.signature(member)
    return list(signature.parameters.values()), signature.return_annotation


def test_both_have_every_verb_with_the_same_arguments_and_types() -> None:
    threaded, looped, documented = verbs(RunningRelay), verbs(AsyncRelay), verbs(RelayHandle)
    assert threaded.keys() == looped.keys() == documented.keys()
    for name, member in documented.items():
        assert shape(threaded[name]) == shape(looped[name]), name
        assert inspect.iscoroutinefunction(looped[name]) is (name in AWAITED), name
        assert not inspect.iscoroutinefunction(threaded[name]), name
        if name not in AWAITED:
            assert shape(member) == shape(threaded[name]), name


@pytest.mark.parametrize("kind", [RunningRelay, AsyncRelay])
def test_one_class_documents_them(kind: type) -> None:
    for name, member in verbs(RelayHandle).items():
        assert inspect.getdoc(getattr(kind, name)) == inspect.getdoc(member), name


def _arguments(function: Callable[..., object]) -> str:
    """The part of a docstring that lists the arguments, but for what only one of them has."""
    text = inspect.getdoc(function) or ""
    lines = text.partition("Args:\n")[2].partition("\n\nRaises:")[0].splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("backend:"))


def test_they_are_opened_with_the_same_options_each_documented_and_with_its_default() -> None:
    threaded = dict(inspect.signature(serve_in_thread).parameters)
    looped = dict(inspect.signature(open_relay).parameters)
    del threaded["backend"]
    assert list(threaded.values()) == list(looped.values())
    assert _arguments(serve_in_thread) == _arguments(open_relay)
    configured = dict(inspect.signature(configure).parameters)
    del configured["has_guests"]  # of wire mode
    for name, parameter in configured.items():
        assert f"    {name}: " in _arguments(open_relay)
        if name not in {"listen", "settings"}:
            assert looped[name].default == parameter.default
            assert looped[name].annotation == parameter.annotation


@pytest.mark.system
def test_the_factory_shows_the_same_options(nat_relay_factory: RelayFactory) -> None:
    shown, options = inspect.signature(nat_relay_factory).parameters, inspect.signature(serve_in_thread).parameters
    assert shown.keys() == options.keys()
    assert {name for name in shown if shown[name].default != options[name].default} == {"profile", "strict"}
    assert all(shown[name].kind is options[name].kind for name in shown)
    assert all(shown[name].annotation == options[name].annotation for name in shown if name != "profile")
    assert _arguments(nat_relay_factory) == _arguments(serve_in_thread)


@pytest.mark.anyio
async def test_every_verb_works_in_the_programs_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.handles.in_loop.ASKED_S", 0.05)
    with Origin(echo) as origin:
        async with open_relay("vmware-fusion", auth="ann:secret", seed=7) as nat:
            with pytest.raises(AssertionError, match="nothing was asked of the relay"):
                await nat.assert_used()
            address = nat.forward(origin.host, origin.port)
            async with await anyio.connect_tcp(*address) as stream:
                await stream.send(b"hello")
                assert await stream.receive() == b"hello"
                opened = await nat.wait_for("flow-opened", via="forward")
                assert (opened.flow, nat.flow_count, nat.forward_addresses) == (1, 1, [address])
                await nat.assert_used()
                nat.freeze("external")
                assert (await nat.wait_for(EventType.FROZEN, side="server")).fields == {"side": "external"}
                nat.thaw(Side.EXTERNAL)
                nat.set(tos_reset={"mask": 0xFC})
                assert nat.profile.tos_mask == 0xFC
                nat.resolve("api.test", 80, "127.0.0.1")
                nat.time_scale, nat.seed = 10, 8
                await nat.advance(300)
                assert (await nat.wait_for("time-advanced")).fields == {"by_s": 300}
                nat.time_scale = 1
                assert (nat.time_scale, nat.seed) == (1, 8)
                nat.link_down()
                assert (await nat.wait_for("flow-ended")).fields["because"] == "link-down-reset"
            assert nat.forward_inbound(origin.host, origin.port) == nat.inbound_addresses[0]
            assert nat.socks_url == f"socks5h://ann:secret@127.0.0.1:{nat.address.port}"
            assert nat.env["http_proxy"] == nat.http_url == nat.url("http")
            assert [flow.number for flow in nat.flows] == [1]
            assert {each.quirk.name for each in nat.fidelity} >= {"tos-reset"}
            assert "the link went down" in await nat.log_text()
            await nat.drain(1)
            assert nat.events[-1].event == "relay-draining"
            with pytest.raises(AssertionError, match=r"no flow-refused within 0.1 s; what happened:"):
                await nat.wait_for("flow-refused", timeout_s=0.1)
        assert nat.events[-1].event == "relay-stopped"
        with pytest.raises(RuntimeError, match="the relay has stopped: its `async with` block is over"):
            nat.freeze("external")
        with pytest.raises(AssertionError, match="before the relay stopped"):
            await nat.wait_for("flow-refused")


@pytest.mark.anyio
async def test_a_record_that_comes_later_ends_the_waiting() -> None:
    async with open_relay("transparent") as nat, anyio.create_task_group() as tasks:

        async def later() -> None:
            await anyio.sleep(0.05)
            nat.link_down()

        tasks.start_soon(later)
        assert (await nat.wait_for("link-down")).event == "link-down"


@pytest.mark.anyio
async def test_the_former_verbs_work_and_warn() -> None:
    async with open_relay("vmware-fusion") as nat:
        with pytest.warns(DeprecationWarning, match="adjust is set now"):
            nat.adjust("tos-reset.mask=0xFC")  # type: ignore[attr-defined]
        assert nat.profile.tos_mask == 0xFC
        with pytest.warns(DeprecationWarning, match="resolve_as is resolve now"):
            nat.resolve_as(ResolveOverride("a.test", 80, "127.0.0.1"))  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match="'AsyncRelay' object has no attribute 'freze'"):
            nat.freze  # type: ignore[attr-defined] # noqa: B018


@contextmanager
def exchanged(nat: RunningRelay) -> Iterator[socket.socket]:
    """A connection that has carried something."""
    with Origin(echo) as origin, socket.create_connection(nat.forward(origin.host, origin.port), timeout=60) as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        yield sock


@dataclass
class KillAfter(Behaviour):
    """Reset the app's side when the connection has been up for a while."""

    after_s: float = setting(60.0, low=0, doc="how long, in seconds")

    def __post_init__(self) -> None:
        self.connections = 0

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        self.connections += 1
        assert self.connections == 1, "one instance serves one flow"
        yield StartTimer("kill", self.after_s)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield SendRst(Side.INTERNAL)
        yield SendRst(Side.EXTERNAL)


def test_behaviours_of_ones_own_need_no_package(backend: str) -> None:
    with serve_in_thread("transparent", backend=backend, behaviours=[KillAfter(0.05)]) as nat:
        for _ in range(2):
            with exchanged(nat) as sock, pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert nat.wait_for("flow-ended", flow=2).fields["because"] == "kill-after"
        assert nat.profile.quirks[-1].settings == {"after_s": 0.05}
    hastened = serve_in_thread("transparent", backend=backend, behaviours=[KillAfter], time_scale=1000)
    with hastened as nat, exchanged(nat):
        nat.wait_for("flow-ended", because="kill-after")


def test_what_is_no_behaviour_is_named() -> None:
    for wrong in ("kill-after", 3, dict):
        with pytest.raises(ConfigError, match=r"behaviours: .* is no behaviour"), serve_in_thread(behaviours=[wrong]):  # type: ignore[list-item]
            pass


@pytest.mark.parametrize("former", [{"tos_reset": {"mask": 0xFC}}, ["tos-reset.mask=0xFC"]])
def test_the_former_spelling_of_settings_works_and_warns(former: Any) -> None:
    told = pytest.warns(DeprecationWarning, match=r"is tos_reset=\{...\} now")
    with told as caught, serve_in_thread("transparent", settings=former) as nat:
        assert nat.profile.tos_mask == 0xFC
    assert [warning.filename for warning in caught] == [__file__]


def test_a_test_that_waits_for_a_change_of_tos_byte_under_a_profile_that_has_no_eye_for_it_asks_for_one(
    backend: str,
) -> None:
    need_tos()
    with serve_in_thread("transparent", backend=backend) as nat:
        with pytest.raises(
            ConfigError, match="tos-changed never comes: no behaviour of transparent looks at"
        ) as caught:
            nat.wait_for("tos-changed")
        assert "tos_watch={}" in caught.value.hint
    with serve_in_thread("transparent", backend=backend, tos_watch={}) as nat, exchanged(nat) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
        sock.sendall(b"y")
        assert nat.wait_for("tos-changed").fields["new"] in {0x48, None}
        assert read_exactly(sock, 1) == b"y"
        sock.close()
        assert nat.wait_for("flow-ended").fields["because"] == "internal-peer"


_PORT, _HOST = "a port is an integer from 1 to 65535", "give a name or an address alone, *"
_FORWARD = OpenForward(ForwardSpec(Endpoint("192.0.2.1", 1), Endpoint("127.0.0.1", 9)))
WRONG_CALLS: dict[str, tuple[Callable[[Any], object], str, str]] = {
    "port": (lambda nat: nat.forward("127.0.0.1", 99999), "forward: 99999 is not a port", _PORT),
    "no port": (lambda nat: nat.forward_inbound("127.0.0.1", 0), "forward_inbound: 0 is not a port", _PORT),
    "text": (lambda nat: nat.forward("127.0.0.1", "22"), "forward: '22' is not a port", _PORT),
    "host and port": (lambda nat: nat.forward("127.0.0.1:22", 22), "forward: '127.0.0.1:22' is not a host", _HOST),
    "brackets": (lambda nat: nat.forward("[::1]", 22), "forward: '[::1]' is not a host", _HOST),
    "no host": (lambda nat: nat.forward(None, 22), "forward: None is not a host", "give a name or an address, as text"),
    "side": (lambda nat: nat.freeze("inside"), "freeze: there is no side 'inside'", "the sides: internal (the app), *"),
    "name": (lambda nat: nat.resolve("a.test", 99999, "::1"), "resolve: '99999' is not a port", "*0 to 65535"),
    "cause": (
        lambda nat: nat.wait_for("flow-ended", because="tos_reset"),
        "wait_for: there is no cause 'tos_reset'",
        "did you mean 'tos-reset'? the causes: *",
    ),
    "seconds": (lambda nat: nat.advance("5m"), "advance: seconds: '5m' is not a number", "give seconds, 0 or more *"),
    "scale": (lambda nat: setattr(nat, "time_scale", 0), "time_scale: 0 is out of range", "give more than 0 *"),
    "setting": (lambda nat: nat.set(cut={"at": 1}), "cut={'at': 1}: cut has no setting 'at'", "its settings: *"),
    "setting of a forward": (
        lambda nat: nat.forward("127.0.0.1", 9, cut={"at": 1}),
        "cut={'at': 1}: cut has no setting 'at'",
        "its settings: *",
    ),
    "settings": (lambda nat: nat.do(Adjust(("a",))), "settings: a: no value", "the form is BEHAVIOUR.SETTING=VALUE, *"),
    "stack": (
        lambda nat: nat.do(Adjust(("stack.mss=1400",))),
        "settings: the stack's are those that the relay was started with",
        "start another one *",
    ),
    "address": (lambda nat: nat.do(_FORWARD), "bind: cannot listen on 192.0.2.1:1: *", "give an address of this host*"),
    "no forward": (
        lambda nat: nat.do(CloseForward(Endpoint("127.0.0.1", 1))),
        "address: no forward listens at 127.0.0.1:1",
        "forwards listen at: nowhere",
    ),
    "fault's forward": (
        lambda nat: nat.do(SetFault("slow", Fault(side=Side.INTERNAL), Endpoint("127.0.0.1", 1))),
        "forward: no forward listens at 127.0.0.1:1",
        "forwards listen at: nowhere",
    ),
    "anywhere": (
        lambda nat: nat.do(OpenForward(ForwardSpec(Endpoint("127.0.0.1", 0), ANYWHERE), "server")),
        "target: any:// is no server of the guest's",
        "give its HOST:PORT",
    ),
    "command's scale": (lambda nat: nat.do(SetTimeScale(0)), "scale: 0 is out of range", "give more than 0 *"),
    "event": (lambda nat: nat.wait_for("flow_ended"), "wait_for: there is no event 'flow_ended'", "did you mean *"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", WRONG_CALLS)
async def test_a_wrong_argument_is_found_at_the_call(wrong: str) -> None:
    call, told, hint = WRONG_CALLS[wrong]
    with serve_in_thread("vmware-fusion") as threaded:
        async with open_relay("vmware-fusion") as looped:
            for nat in (threaded, looped):
                with pytest.raises(ConfigError) as caught:
                    await _result(call, nat)
                assert _fits(str(caught.value), told), caught.value
                assert _fits(caught.value.hint, hint), caught.value.hint


async def _result(call: Callable[[Any], Any], nat: RunningRelay | AsyncRelay) -> None:
    result = call(nat)
    if inspect.isawaitable(result):
        await result


def _fits(text: str, pattern: str) -> bool:
    """Whether the text has the pattern's parts, in order."""
    begin, star, end = pattern.partition("*")
    return text.startswith(begin) and text.endswith(end) if star else text == pattern


@pytest.mark.anyio
@pytest.mark.parametrize("call", ["wait_for", "assert_used"])
async def test_what_would_block_an_event_loop_says_what_to_call_instead(anyio_backend: str, call: str) -> None:
    instead = {"asyncio": f"await asyncio.to_thread(nat.{call}, ...)", "trio": "await trio.to_thread.run_sync(*"}
    with serve_in_thread("vmware-fusion") as nat:
        with pytest.raises(ConfigError, match=f"{call}: it would block the event loop of {anyio_backend}") as caught:
            getattr(nat, call)(*["relay-started"][: call == "wait_for"])
        assert _fits(caught.value.hint, instead[anyio_backend])
        assert (await anyio.to_thread.run_sync(lambda: nat.wait_for("relay-started"))).flow is None
