"""The commands of `relay.control` by name, and how each is read from an object's fields.

This table is the whole of it: a command's route, its button on the page and its place in the documents come from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, get_args

from relay.address import ANYWHERE, Endpoint, ForwardSpec, parse_endpoint, parse_resolve
from relay.control import (
    Adjust,
    AdjustForward,
    Advance,
    CloseForward,
    Command,
    CountUp,
    Drain,
    Freeze,
    KeepaliveCredit,
    LiftFault,
    LinkDown,
    ListFaults,
    ListFlows,
    OpenForward,
    ResolveAs,
    SetFault,
    SetSeed,
    SetTimeScale,
    Thaw,
)
from relay.control_api.exchange import Refused
from relay.control_api.json_body import Fields
from relay.errors import ConfigError, RelayError, Unsettled, Unsupported
from relay.events import Side, SideName
from relay.fault import Fault
from relay.log import EventLog, Record
from relay.profiles import nearest_profiles, profile_names
from relay.shape import Shape
from relay.totals import Totals

_LONGEST_S = 86_400.0
_FIELDS = {"bind": "listen", "address": "listen"}
"""Those that a request calls otherwise than Python's commands do."""
Reader: TypeAlias = Callable[[Fields], Command[Any]]
_STATUSES: tuple[tuple[type[RelayError], int], ...] = ((ConfigError, 400), (Unsettled, 409), (Unsupported, 501))


def _side(fields: Fields, name: str, default: SideName | None = None) -> SideName:
    sides: tuple[SideName, ...] = get_args(SideName)
    return fields.one_of(name, sides, default)


def _adjust(fields: Fields) -> Command[Any]:
    return Adjust(fields.texts("settings"))


def _advance(fields: Fields) -> Command[Any]:
    keepalive: tuple[KeepaliveCredit, ...] = get_args(KeepaliveCredit)
    return Advance(fields.number("seconds"), fields.one_of("keepalive", keepalive, "credit"))


def _open_forward(fields: Fields) -> Command[Any]:
    bind, target = parse_endpoint(fields.text("listen", "127.0.0.1:0"), where="listen"), _target(fields.text("target"))
    settings = _own_settings(fields) if "settings" in fields else ()
    return OpenForward(ForwardSpec(bind, target, settings), _side(fields, "initiator", "internal"))


def _target(text: str) -> Endpoint:
    return ANYWHERE if text == str(ANYWHERE) else parse_endpoint(text, where="target")


def _adjust_forward(fields: Fields) -> Command[Any]:
    return AdjustForward(parse_endpoint(fields.text("listen"), where="listen"), _own_settings(fields))


def _own_settings(fields: Fields) -> tuple[str, ...]:
    """A forward's own settings. Its profile has a name: clients do not have this host's files read."""
    settings = fields.texts("settings")
    for text in settings:
        name = text.removeprefix("profile=")
        if name != text and name not in profile_names():
            raise ConfigError(f"settings: unknown profile {name!r}", hint=nearest_profiles(name))
    return settings


def _resolve_as(fields: Fields) -> Command[Any]:
    return ResolveAs(parse_resolve(fields.text("name"), where="name"))


def _set_fault(fields: Fields) -> Command[Any]:
    fault = Fault(
        side=_side(fields, "side"),
        shape=Shape(
            delay_s=fields.number("delay_s", 0, low=0, high=_LONGEST_S),
            jitter_s=fields.number("jitter_s", 0, low=0, high=_LONGEST_S),
            rate_bytes_per_s=fields.number("rate_bytes_per_s", 0, low=0),
            slice_bytes=fields.whole("slice_bytes", 0),
            slice_delay_s=fields.number("slice_delay_s", 0, low=0, high=_LONGEST_S),
            slice_variation_bytes=fields.whole("slice_variation_bytes", 0),
            end_delay_s=fields.number("end_delay_s", 0, low=0, high=_LONGEST_S),
            limit_bytes=fields.whole("limit_bytes") if "limit_bytes" in fields else None,
            stall=fields.truth("stall", False),
        ),
        share=fields.number("share", 1, low=0, high=1),
        end=fields.one_of("end", ("fin", "rst"), "fin"),
        end_after_s=fields.number("end_after_s", low=0, high=_LONGEST_S) if "end_after_s" in fields else None,
        end_at_limit=fields.truth("end_at_limit", False),
        end_when_lifted=fields.truth("end_when_lifted", False),
    )
    return SetFault(fields.text("name"), fault, _forward(fields))


def _forward(fields: Fields) -> Endpoint | None:
    return parse_endpoint(fields.text("forward"), where="forward") if "forward" in fields else None


COMMANDS: Mapping[str, Reader] = MappingProxyType(
    {
        "freeze": lambda fields: Freeze(_side(fields, "side")),
        "thaw": lambda fields: Thaw(_side(fields, "side")),
        "link-down": lambda _: LinkDown(),
        "adjust": _adjust,
        "open-forward": _open_forward,
        "adjust-forward": _adjust_forward,
        "close-forward": lambda fields: CloseForward(parse_endpoint(fields.text("listen"), where="listen")),
        "resolve-as": _resolve_as,
        "set-fault": _set_fault,
        "lift-fault": lambda fields: LiftFault(fields.text("name"), _forward(fields)),
        "set-time-scale": lambda fields: SetTimeScale(fields.number("scale")),
        "advance": _advance,
        "set-seed": lambda fields: SetSeed(fields.whole("seed", low=-(2**63))),
        "count-up": lambda _: CountUp(),
        "list-flows": lambda _: ListFlows(),
        "list-faults": lambda _: ListFaults(),
        "drain": lambda fields: Drain(fields.number("at_most_s", 0.0, low=0)),
    }
)


def read_command(name: str, fields: Fields) -> Command[Any]:
    """The command of this name with these fields.

    Raises:
        Refused: there is none, or a field is wrong.
    """
    try:
        reader = COMMANDS[name]
    except KeyError:
        raise Refused(404, f"there is no command {name!r}", hint=f"the commands: {', '.join(COMMANDS)}") from None
    with in_words_of(name):
        command = reader(fields)
    fields.done()
    return command


@contextmanager
def in_words_of(command: str) -> Iterator[None]:
    """Have an error about a command's field name both, as the request does.

    Raises:
        Refused: in the place of a ConfigError.
    """
    try:
        yield
    except ConfigError as error:
        field, colon, rest = str(error).removeprefix(f"{command}: ").partition(": ")
        raise Refused(400, f"{command}: {_FIELDS.get(field, field)}{colon}{rest}", hint=error.hint) from None


def refused(error: RelayError) -> Refused:
    """What the relay does not carry out, as an answer."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    return Refused(status, str(error), hint=error.hint)


def plain(value: object, log: EventLog) -> Any:
    """A command's result as JSON has it."""
    match value:
        case Endpoint():
            return str(value)
        case Side():
            return value.value
        case SetFault(name, fault, forward):
            return _told_fault(name, fault, plain(forward, log))
        case Record():
            return json.loads(value.as_json(log.started_at))
        case Totals():
            return {name: _named(getattr(value, name)) for name in value.__dataclass_fields__}
        case list():
            return [plain(each, log) for each in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {name: plain(getattr(value, name), log) for name in value.__dataclass_fields__}
        case _:
            return value


def _told_fault(name: str, fault: Fault, forward: str | None) -> dict[str, Any]:
    """A fault as `set-fault` takes it, without the fields that say nothing."""
    nothing = _fault_fields(Fault(side=fault.side)) | {"side": ""}
    told = {field: value for field, value in _fault_fields(fault).items() if value != nothing[field]}
    return {"name": name, **told} | ({"forward": forward} if forward is not None else {})


def _fault_fields(fault: Fault) -> dict[str, Any]:
    fields = asdict(fault)
    return {**fields.pop("shape"), **fields, "side": fault.side.value}


def _named(value: object) -> object:
    return {str(key): count for key, count in value.items()} if isinstance(value, dict) else value
