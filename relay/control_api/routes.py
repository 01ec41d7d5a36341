"""What the control answers, by path. `GET` shows something; `POST /relay/v1/commands/NAME` carries out a command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, TypeVar

from relay.control import Command, CountUp, ListFlows, OpenForward
from relay.control_api.commands import COMMANDS, in_words_of, plain, read_command, refused
from relay.control_api.event_stream import event_stream
from relay.control_api.exchange import Answer, Refused, Request, as_json
from relay.control_api.guard import Guard
from relay.control_api.history import BEHIND, KEPT, History
from relay.control_api.json_body import parse_fields
from relay.control_api.metrics import CONTENT_TYPE, ProxyLabels, metrics_text
from relay.control_api.page_files import page_file
from relay.control_api.spec import ControlSpec
from relay.control_api.toxiproxy import Proxies, ToxiproxyRoutes
from relay.debug import show_traceback, traceback_of
from relay.errors import RelayError
from relay.ladder import Run
from relay.profiles import Quirk, expires_after_s
from relay.report.sections import flow_data, profile_data
from relay.server import Started

TOXIPROXY_VERSION = "2.12.0"
"""Whose HTTP API this one speaks; its clients and testcontainers ask for it."""
ResultT = TypeVar("ResultT")


class Routes:
    """Answers requests by a relay; see `relay.control_api.connection.Answers`."""

    def __init__(self, relay: Started, history: History, guard: Guard, spec: ControlSpec) -> None:
        self._relay = relay
        self._beyond_loopback = spec.beyond_loopback
        self._proxies = Proxies(relay, beyond_loopback=spec.beyond_loopback)
        self._toxiproxy = ToxiproxyRoutes(self._proxies, parity=spec.parity)
        self._history = history
        self.check = guard.check

    async def answer(self, request: Request) -> Answer:
        """Carry out a request.

        Raises:
            Refused: it cannot be carried out.
        """
        try:
            return await self._answer(request)
        except RelayError as error:
            raise refused(error) from None
        except (Refused, OSError):
            raise
        except Exception as fault:
            self._relay.log.emit(
                "fault", error=f"control: {type(fault).__name__}: {fault}", traceback=traceback_of(fault)
            )
            show_traceback(fault)
            raise Refused(500, f"the relay failed: {type(fault).__name__}", hint="the event log has more") from None

    async def populate(self, proxies: bytes) -> None:
        """Make proxies as `POST /populate` does.

        Raises:
            Refused: one of them is wrong, or cannot listen.
        """
        await self._toxiproxy.populate(proxies)

    async def _answer(self, request: Request) -> Answer:
        match request.parts:
            case ():
                _demand(request, "GET")
                return page_file("index.html")
            case ("relay", "page", name):
                _demand(request, "GET")
                return page_file(name)
            case ("relay", "v1", "profile"):
                _demand(request, "GET")
                return as_json(self._describe_profile())
            case ("relay", "v1", "flows", number):
                _demand(request, "GET")
                return as_json(self._flow(_whole(number, "flow")))
            case ("version",):
                _demand(request, "GET")
                return as_json({"version": TOXIPROXY_VERSION})
            case ("metrics",):
                _demand(request, "GET")
                return await self._metrics()
            case ("relay", "v1"):
                _demand(request, "GET")
                return as_json(self._describe())
            case ("relay", "v1", "flows"):
                _demand(request, "GET")
                return as_json({"flows": plain(await self._do(ListFlows()), self._relay.log)})
            case ("relay", "v1", "events"):
                _demand(request, "GET")
                earlier = _whole(request.query.get("earlier", "0"), "earlier", BEHIND)
                return event_stream(self._history, earlier, self._relay.limited)
            case ("relay", "v1", "commands", name):
                _demand(request, "POST")
                command = read_command(name, parse_fields(request.body, name))
                with in_words_of(name):
                    self._check(command)
                    return as_json({"result": plain(await self._do(command), self._relay.log)})
        if (answer := await self._toxiproxy.answer(request)) is not None:
            return answer
        raise Refused(404, f"there is nothing at {request.target[:200]}", hint="GET /relay/v1 lists what there is")

    async def _do(self, command: Command[ResultT]) -> ResultT:
        return await self._relay.carry_out(command)

    def _describe(self) -> dict[str, Any]:
        relay = self._relay
        return {
            "version": version("vmnat-relay"),
            "profile": relay.profile.name,
            "proxy": str(relay.address) if relay.address is not None else None,
            "forwards": list(map(str, relay.forward_addresses)),
            "inbound": list(map(str, relay.inbound_addresses)),
            "commands": list(COMMANDS),
            "paths": ["/version", "/metrics", "/relay/v1", "/relay/v1/flows", "/relay/v1/events?earlier=N", "/proxies"]
            + [f"/relay/v1/commands/{name}" for name in COMMANDS],
        }

    def _describe_profile(self) -> dict[str, Any]:
        """What the relay was started with, and what of it flows are made with now."""
        started = self._relay.config.profile
        return {
            "profile": profile_data(started),
            "enabled": [quirk.name for quirk in self._relay.profile.quirks],
            "enable": {quirk.name: _settings_of(quirk) for quirk in started.quirks},
            "expires_after_s": expires_after_s((started, self._relay.profile)),
        }

    def _flow(self, number: int) -> dict[str, Any]:
        run = Run(started_at=self._history.log.started_at)
        for record in self._history.records_of(number):
            run.take(record)
        for ladder in run.ladders:
            return flow_data(ladder, run.started_at)
        raise Refused(404, f"there is no flow {number}", hint=f"the last {KEPT} records are kept")

    async def _metrics(self) -> Answer:
        totals, flows = await self._do(CountUp()), await self._do(ListFlows())
        proxies = [proxy for proxy in self._proxies.all().values() if proxy.enabled]
        labels = [ProxyLabels(proxy.name, proxy.listen, str(proxy.upstream)) for proxy in proxies]
        text = metrics_text(totals, flows, self._history.resets, labels)
        return Answer(200, text.encode(), CONTENT_TYPE)

    def _check(self, command: Command[Any]) -> None:
        if isinstance(command, OpenForward) and not (command.spec.bind.is_loopback or self._beyond_loopback):
            hint = "start the relay with --allow-open to have forwards that every host reaches"
            raise Refused(403, f"open-forward: listen: {command.spec.bind} is beyond loopback", hint=hint)


def _settings_of(quirk: Quirk) -> list[str]:
    """What `adjust` takes to have it as the profile has it."""
    spelt = ((name, str(value).lower() if isinstance(value, bool) else value) for name, value in quirk.settings.items())
    when = (f"{quirk.name}.when.{name}={value}" for name, value in quirk.when.given.items())
    return [f"{quirk.name}.enabled=true", *(f"{quirk.name}.{name}={value}" for name, value in spelt), *when]


def _demand(request: Request, method: str) -> None:
    allowed = (method, "HEAD") if method == "GET" else (method,)
    if request.method not in allowed:
        raise Refused(405, f"{request.method} is not for this path", headers={"Allow": ", ".join(allowed)})


def _whole(text: str, what: str, most: int = 10**15) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= most):
        raise Refused(400, f"{what}: {text[:20]!r} is not a whole number, up to {most}")
    return int(text)
