"""Finds the behaviours: this package's own modules, then the entry points of others."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from relay.behaviours._api import Behaviour
from relay.errors import ConfigError

ENTRY_POINT_GROUP = "relay.behaviours"
_PACKAGE = "relay.behaviours"


@cache
def installed_behaviours() -> Mapping[str, type[Behaviour]]:
    """Every behaviour by its name.

    Raises:
        ConfigError: an entry point cannot be loaded, is no behaviour, or takes a name that is taken.
    """
    found: dict[str, type[Behaviour]] = {}
    for module in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__):
        if not module.name.startswith("_"):
            for value in vars(importlib.import_module(f"{_PACKAGE}.{module.name}")).values():
                if isinstance(value, type) and issubclass(value, Behaviour) and value is not Behaviour:
                    found[value.name] = value
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        where = f"entry point {entry.name!r} ({entry.value})"
        try:
            loaded = entry.load()
        except Exception as fault:
            raise ConfigError(f"{where}: {fault}", hint="mend or uninstall the package that brings it") from fault
        if not (isinstance(loaded, type) and issubclass(loaded, Behaviour)):
            raise ConfigError(f"{where}: not a Behaviour", hint="it must name a subclass of relay.behaviours.Behaviour")
        if found.get(loaded.name, loaded) is not loaded:
            raise ConfigError(f"{where}: the name {loaded.name!r} is taken", hint="rename the class")
        found[loaded.name] = loaded
    return found
