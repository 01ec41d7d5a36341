"""A behaviour's table of a TOML file, as the command line spells it."""

from __future__ import annotations

from relay.behaviours import ALWAYS
from relay.errors import ConfigError
from relay.profiles._entries import read_entry


def spelt(name: str, table: object, *, where: str) -> tuple[str, ...]:
    """Its settings and conditions, each `BEHAVIOUR.SETTING=VALUE`.

    Raises:
        ConfigError: something in it is wrong, as in a profile; or it has evidence, which belongs into a profile.
    """
    entry = read_entry(name, table, where=where)
    assert isinstance(table, dict)  # noqa: S101 - else it was an error
    for key in ("status", "evidence"):
        if key in table:
            raise ConfigError(
                f"{where}: {name}.{key}: not here", hint="evidence stands in a profile, and profile = names that"
            )
    given: dict[str, object] = dict(entry.settings)
    if entry.condition is not None:
        given |= {f"when.{key}": value for key, value in entry.condition(ALWAYS).given.items()}
    if not given or not entry.enabled:
        given = {"enabled": entry.enabled}
    return tuple(f"{entry.kind.name}.{key}={_as_text(value)}" for key, value in given.items())


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
