"""Toxics that toxiproxy has not: a type may be the name of any behaviour, or `profile`.

    {"type": "cut", "attributes": {"at_request": 2}}
    {"type": "tos-reset", "attributes": {"mask": 252, "when": {"first": 3}}}
    {"type": "profile", "attributes": {"name": "aws-nat-gateway"}}

The attributes are the behaviour's settings. Its stream is the behaviour's `direction`, if it has one; its toxicity is
the share of the connections that have the behaviour. All of it becomes settings of the proxy's forward, for the
connections that are opened from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from relay.behaviours import installed_behaviours, with_aliases
from relay.control_api.exchange import Refused
from relay.control_api.json_body import Fields
from relay.control_api.toxiproxy.named_toxic import NamedToxic
from relay.errors import ConfigError
from relay.profiles import nearest_profiles, profile_names, spelt
from relay.settings import settings_of

PROFILE = "profile"
_DIRECTIONS = {"upstream": "to-server", "downstream": "to-app"}


def is_behaviour(kind: str) -> bool:
    """Whether a toxic of this type is one of these."""
    return kind == PROFILE or kind in with_aliases(installed_behaviours())


@dataclass(frozen=True, slots=True)
class BehaviourToxic(NamedToxic):
    """A toxic of one proxy that is a behaviour of its flows, or their whole profile."""

    def changed(self, fields: Fields) -> BehaviourToxic:
        """The same with the attributes, and the toxicity, that a request gives.

        Raises:
            Refused: something in it is wrong.
        """
        toxicity = fields.number("toxicity", self.toxicity, low=0, high=1)
        changed = replace(self, toxicity=toxicity, attributes={**self.attributes, **fields.fields("attributes").all()})
        try:
            _ = changed.settings
        except ConfigError as error:
            raise Refused(400, str(error), hint=error.hint) from None
        return changed

    @property
    def settings(self) -> tuple[str, ...]:
        """What the forward's settings are for it; none at a toxicity of 0.

        Raises:
            ConfigError: an attribute is wrong.
        """
        if self.type == PROFILE:
            return self._profile()
        kind = with_aliases(installed_behaviours())[self.type]
        table = dict(self.attributes)
        if "direction" in settings_of(kind):
            table.setdefault("direction", _DIRECTIONS[self.stream])
        when = table.get("when", {})
        if 0 < self.toxicity < 1 and isinstance(when, dict):
            table["when"] = {**when, "share": self.toxicity}
        settings = spelt(self.type, table, where="toxic")
        return settings if self.toxicity else ()

    @property
    def behaviour(self) -> str:
        """The behaviour's own name: a proxy has each at most once."""
        return PROFILE if self.type == PROFILE else with_aliases(installed_behaviours())[self.type].name

    def _profile(self) -> tuple[str, ...]:
        name = self.attributes.get("name")
        if not isinstance(name, str) or self.attributes.keys() != {"name"}:
            raise ConfigError("toxic: profile: its only attribute is name", hint='e.g. {"name": "aws-nat-gateway"}')
        if self.toxicity not in {0, 1}:
            raise ConfigError("toxic: profile: it is for all connections", hint="give a toxicity of 1, or of 0")
        if name not in profile_names():  # a path is none: clients do not have this host's files read
            raise ConfigError(f"toxic: unknown profile {name!r}", hint=nearest_profiles(name))
        return (f"profile={name}",) if self.toxicity else ()
