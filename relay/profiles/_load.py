"""From a profile's name to a profile: its bases, itself and the command line, laid one over the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from relay.behaviours import ALWAYS, Behaviour
from relay.errors import ConfigError
from relay.profiles._entries import STACK, Entry, Source, StackEntry, read_entry, read_override, read_stack
from relay.profiles._files import Document, find, shipped
from relay.profiles._profile import Evidence, Profile, Quirk, StackSettings
from relay.settings import defaults_of

_NAMED = "profile="


def load_profile(name_or_path: str, settings: Sequence[str] = ()) -> Profile:
    """The shipped profile of this name or alias, or the one in this file, with `settings` laid over it.

    A setting reads `BEHAVIOUR.SETTING=VALUE`, as on the command line, or `stack.SETTING=VALUE`. A behaviour that the
    profile has not is added with its defaults; `BEHAVIOUR.enabled=false` removes one. Of two settings for the same
    thing the later counts.

    Raises:
        ConfigError: naming the file, or `--set`, and the key that is wrong, and what is accepted.
    """
    document = find(name_or_path, asked_by="profile")
    layers = _Layers()
    layers.lay_document(document)
    bare = Profile(
        document.name,
        document.title,
        document.era,
        document.aliases,
        quirks=(),
        symptom=document.symptom,
        reproduce=document.reproduce,
        remedy=document.remedy,
    )
    return layers.over(bare, settings, where=document.where)


def adjust_profile(profile: Profile, settings: Sequence[str], *, source: Source = Source.OPTION) -> Profile:
    """The same profile with more settings laid over it.

    Raises:
        ConfigError: as `load_profile`; a setting of a command's is named by that command's field, `settings`.
    """
    layers = _Layers.of(profile)
    return layers.over(profile, settings, where=profile.name, source=source)


def forward_profile(profile: Profile, settings: Sequence[str], *, source: Source = Source.OPTION) -> Profile:
    """What a forward with settings of its own has where the relay has `profile`.

    `profile=NAME` among them has another profile in its place; the stack stays that of the relay.

    Raises:
        ConfigError: as `adjust_profile`.
    """
    names = [text.removeprefix(_NAMED) for text in settings if text.startswith(_NAMED)]
    base = replace(load_profile(names[-1]), stack=profile.stack) if names else profile
    return adjust_profile(base, [text for text in settings if not text.startswith(_NAMED)], source=source)


def add_behaviours(profile: Profile, behaviours: Iterable[Behaviour | type[Behaviour]]) -> Profile:
    """The same profile with a program's own behaviours, each with the values that its fields have now.

    One that has the name of a behaviour of the profile takes its place; the others are asked last, in their order.

    Raises:
        ConfigError: one is no behaviour, or refuses its own fields' values.
    """
    layers = _Layers.of(profile)
    for each in behaviours:
        kind = each if isinstance(each, type) else type(each)
        if not issubclass(kind, Behaviour):
            raise ConfigError(f"behaviours: {each!r} is no behaviour", hint="give instances, as in [KillAfter(0.2)]")
        values: dict[str, object] = {}
        if dataclasses.is_dataclass(each) and not isinstance(each, type):
            values = {field.name: getattr(each, field.name) for field in dataclasses.fields(each) if field.init}
        evidence = Evidence("behaviours", "given by the program, without evidence")
        layers.absent.pop(kind.name, None)
        layers.present[kind.name] = Quirk(kind, MappingProxyType(values), "assumed", (evidence,))
    return layers.over(profile, (), where="behaviours")


def available() -> list[Profile]:
    """Every shipped profile, by name."""
    return [load_profile(document.name) for document in shipped()]


@dataclass
class _Layers:
    present: dict[str, Quirk] = field(default_factory=dict)
    absent: dict[str, Quirk] = field(default_factory=dict)
    stack: StackSettings = field(default_factory=StackSettings)

    @classmethod
    def of(cls, profile: Profile) -> _Layers:
        """Those that a loaded profile comes to."""
        present, absent = ({quirk.name: quirk for quirk in quirks} for quirks in (profile.quirks, profile.absent))
        return cls(present, absent, profile.stack)

    def over(self, profile: Profile, settings: Sequence[str], *, where: str, source: Source = Source.OPTION) -> Profile:
        """The profile with these layers, and the settings on top, for its quirks."""
        for text in settings:
            override = read_override(text, source)
            if isinstance(override, StackEntry):
                self.stack = override.over(self.stack)
            else:
                self.lay(override)
        self._demand_sense(where)
        present, absent = tuple(self.present.values()), tuple(self.absent.values())
        return replace(profile, quirks=present, absent=absent, stack=self.stack)

    def _demand_sense(self, where: str) -> None:
        """Insist that each behaviour can be made of its settings, and that they contradict none."""
        made: dict[str, Behaviour] = {}
        for name, quirk in self.present.items():
            try:
                made[name] = quirk.build()
            except Exception as fault:
                raise ConfigError(
                    f"{where}: {name} refuses its settings: {type(fault).__name__}: {fault}",
                    hint=", ".join(f"{key} = {value!r}" for key, value in quirk.settings.items()),
                ) from fault
        for name, behaviour in made.items():
            if (conflict := behaviour.conflict(made)) is not None:
                raise ConfigError(f"{where}: {name}: {conflict.says}", hint=conflict.hint)

    def lay_document(self, document: Document, above: tuple[Document, ...] = ()) -> None:
        """Lay what the document extends, then the document. `above` are those that extend it."""
        chain = (*above, document)
        if any(document.identity == other.identity for other in above):
            ring = " -> ".join(other.where for other in chain)
            raise ConfigError(f"{chain[0].where}: extends itself: {ring}", hint="leave out one of these extends")
        if document.extends:
            asked_by = f"{document.where}: extends"
            self.lay_document(find(document.extends, asked_by=asked_by, directory=document.directory), chain)
        for name, table in document.tables.items():
            if name == STACK:
                self.stack = read_stack(table, self.stack, where=document.where)
            else:
                self.lay(read_entry(name, table, where=document.where))

    def lay(self, entry: Entry) -> None:
        name = entry.kind.name
        below = self.present.get(name)
        base = below.settings if below is not None else defaults_of(entry.kind)
        settings = {**base, **entry.settings}
        base_when = below.when if below is not None else ALWAYS
        when = entry.condition(base_when) if entry.condition is not None else base_when
        if entry.status is not None:
            status, evidence = entry.status, entry.evidence
        elif below is not None and entry.enabled and (settings, when) == (base, base_when):
            status, evidence = below.status, below.evidence
        else:
            status, evidence = "assumed", (entry.note, *(below.evidence if below is not None and entry.enabled else ()))
        quirk = Quirk(entry.kind, MappingProxyType(settings), status, evidence, when)
        if entry.enabled:
            self.absent.pop(name, None)
            self.present[name] = quirk
        else:
            self.present.pop(name, None)
            self.absent[name] = quirk
