"""What a profile, or a command line, says about one behaviour, before it is laid over the base.

A TOML table holds the behaviour's settings and three keys that every behaviour has: `enabled`, `status`, `evidence`.
A status above `assumed` needs evidence, and evidence needs a status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import partial

from relay.behaviours import ALWAYS, Behaviour, When, installed_behaviours, read_condition, read_when, with_aliases
from relay.errors import ConfigError
from relay.profiles._profile import STATUSES, Evidence, StackSettings
from relay.profiles._text import read_string
from relay.settings import Declaring, check_value, nearest, read_value, settings_of
from relay.stack import Stack

STACK = Stack.name
"""The table that is no behaviour's: the settings of the NAT's own TCP/IP."""
_OVERRIDE_FORM = "BEHAVIOUR.SETTING=VALUE, e.g. tos-reset.mask=0xfc, or tos-reset.enabled=false"


class Source(Enum):
    """Who gives settings as text, for errors and as evidence."""

    OPTION = "--set {}", "set on the command line"
    COMMAND = "settings: {}", "set by a command"

    def where(self, text: str) -> str:
        """What errors call one of them."""
        return self.value[0].format(text)

    @property
    def says(self) -> str:
        """The evidence for it."""
        return self.value[1]


@dataclass(frozen=True)
class Entry:
    """What is said about one behaviour; only what is said, no defaults."""

    kind: type[Behaviour]
    settings: Mapping[str, object]
    enabled: bool
    status: str | None
    evidence: tuple[Evidence, ...]
    note: Evidence
    """Who said so: the evidence for what has no other."""
    condition: Callable[[When], When] | None = None
    """What becomes of the base's conditions; None: they stay."""


def read_entry(name: str, table: object, *, where: str) -> Entry:
    """Read the table of the behaviour `name` in the profile `where`."""
    kind = with_aliases(installed_behaviours())[name]
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: {name} is not a table", hint=f"write [{name}], and its settings below that line")
    at = f"{where}: {name}"
    enabled = table.get("enabled", True)
    if not isinstance(enabled, bool):
        raise ConfigError(f"{at}.enabled: {enabled!r} is not true or false", hint="false removes what the base has")
    status, evidence = _read_grounds(name, table, at)
    note = Evidence(where, "set here, without evidence")
    settings = {
        key: check_value(kind, key, value, where=f"{at}.{key}")
        for key, value in table.items()
        if key not in {"enabled", "status", "evidence", "when"}
    }
    condition = None
    if "when" in table:
        when = _allowed(kind, read_when(table["when"], where=f"{at}.when"), where=f"{at}.when")
        condition = partial(_instead, when)
    return Entry(kind, settings, enabled, status, evidence or (note,), note, condition)


@dataclass(frozen=True)
class StackEntry:
    """What a command line says about the stack."""

    settings: Mapping[str, object]
    note: Evidence

    def over(self, base: StackSettings) -> StackSettings:
        """The base's settings with these laid over them."""
        laid = StackSettings({**base.settings, **self.settings}, "assumed", (self.note, *base.evidence))
        return laid if laid.build() != base.build() else base


def read_stack(table: object, base: StackSettings, *, where: str) -> StackSettings:
    """Read a [stack] table, laid over the base's."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: stack is not a table", hint="write [stack], and its settings below that line")
    status, evidence = _read_grounds("stack", table, f"{where}: stack")
    settings = {key: value for key, value in table.items() if key not in {"status", "evidence"}}
    note = Evidence(where, "set here, without evidence")
    laid = StackSettings({**base.settings, **settings}, status or "assumed", evidence or (note,))
    try:
        laid.build()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}", hint=error.hint) from None
    return laid


def read_override(text: str, source: Source) -> Entry | StackEntry:
    """Read `BEHAVIOUR.SETTING=VALUE`, or `stack.SETTING=VALUE`, as `--set` takes it."""
    where = source.where(text)
    target, equals, value = text.partition("=")
    name, dot, key = target.strip().partition(".")
    kinds = with_aliases(installed_behaviours())
    known: Mapping[str, type[Declaring]] = {**kinds, STACK: Stack}
    if not (equals and dot):
        named = known.get(target.strip())
        missing = "no value" if not equals else "no behaviour" if named is None else "no setting"
        settings = f"; its settings: {', '.join(settings_of(named))}" if named is not None else ""
        hint = f"{_meant(target, value, known)}the form is {_OVERRIDE_FORM}{settings}"
        raise ConfigError(f"{where}: {missing}", hint=hint)
    if name not in known:
        raise ConfigError(f"{where}: unknown behaviour {name!r}", hint=nearest(name, known, what="there are"))
    value = value.strip()
    note = Evidence(where, source.says)
    if name == STACK:
        return StackEntry({key: read_value(Stack, key, value, where=where)}, note)
    kind = kinds[name]
    if key == "when" or key.startswith("when."):
        return Entry(kind, {}, True, None, (note,), note, _read_condition(kind, key, value, where))
    if key != "enabled":
        return Entry(kind, {key: read_value(kind, key, value, where=where)}, True, None, (note,), note)
    if value not in {"true", "false"}:
        raise ConfigError(f"{where}: {value!r} is not true or false", hint="false removes what the profile has")
    return Entry(kind, {}, value == "true", None, (note,), note)


def _instead(when: When, base: When) -> When:
    return when


def _read_condition(kind: type[Behaviour], key: str, text: str, where: str) -> Callable[[When], When]:
    """What a command line makes of a behaviour's conditions."""
    _, dot, condition = key.partition(".")
    if not dot:
        conditions = ", ".join(settings_of(When))
        raise ConfigError(f"{where}: no condition", hint=f"e.g. {kind.name}.when.first=3; the conditions: {conditions}")
    _allowed(kind, read_condition(ALWAYS, condition, text, where=where), where=where)
    return partial(_changed, condition, text, where)


def _changed(key: str, text: str, where: str, base: When) -> When:
    return read_condition(base, key, text, where=where)


def _allowed(kind: type[Behaviour], when: When, *, where: str) -> When:
    if kind.indispensable and when != ALWAYS:
        raise ConfigError(
            f"{where}: {kind.name} is there for every connection", hint="no connection works without it: leave out when"
        )
    return when


def _read_grounds(name: str, table: Mapping[str, object], at: str) -> tuple[str | None, tuple[Evidence, ...]]:
    """The status that a table gives itself, if it does, and its evidence."""
    status, evidence = table.get("status"), _read_evidence(table.get("evidence", []), at)
    if status is None:
        if evidence:
            raise ConfigError(f"{at}: evidence without a status", hint=f"say what it amounts to: {', '.join(STATUSES)}")
        return None, evidence
    if not isinstance(status, str) or status not in STATUSES:
        raise ConfigError(f"{at}.status: unknown status {status!r}", hint=f"it is one of {', '.join(STATUSES)}")
    if status != "assumed" and not evidence:
        raise ConfigError(f"{at}.status: {status!r} without evidence", hint=f"add [[{name}.evidence]], or say assumed")
    return status, evidence


def _read_evidence(entries: object, at: str) -> tuple[Evidence, ...]:
    if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
        raise ConfigError(f"{at}.evidence: not a list of tables", hint="write [[BEHAVIOUR.evidence]], once for each")
    return tuple(_read_piece(entry, f"{at}.evidence, number {number}") for number, entry in enumerate(entries, 1))


def _read_piece(entry: Mapping[str, object], at: str) -> Evidence:
    known = [field.name for field in fields(Evidence)]
    text: dict[str, str] = {}
    for key, value in entry.items():
        if key not in known:
            raise ConfigError(f"{at}: unknown key {key!r}", hint=nearest(key, known, what="it has"))
        text[key] = read_string(value, where=f"{at}.{key}", lines=key == "says")
    for key in ("source", "says"):
        if not text.get(key):
            raise ConfigError(f"{at}: no {key}", hint="evidence needs a source, and what it says in your words")
    return Evidence(**text)


def _meant(setting: str, value: str, kinds: Mapping[str, type[Declaring]]) -> str:
    """The behaviour, or the stack, that has a setting of this name, if there is one."""
    having = [name for name, kind in kinds.items() if setting.strip() in settings_of(kind)]
    return f"did you mean {having[0]}.{setting.strip()}={value.strip()}? " if having and value.strip() else ""
