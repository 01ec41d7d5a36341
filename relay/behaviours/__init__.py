"""The behaviours there are: one module each in this package, and whatever other packages bring.

A package of your own adds one with an entry point:

    [project.entry-points."relay.behaviours"]
    grumble = "my_package:Grumble"
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from relay.behaviours._api import Actions, Behaviour, setting
from relay.behaviours._lineup import Lineup
from relay.errors import ConfigError

__all__ = ["Actions", "Behaviour", "Lineup", "installed_behaviours", "setting"]

ENTRY_POINT_GROUP = "relay.behaviours"


@cache
def installed_behaviours() -> Mapping[str, type[Behaviour]]:
    """Every behaviour by its name.

    Raises:
        ConfigError: an entry point cannot be loaded, is no behaviour, or takes a name that is taken.
    """
    found: dict[str, type[Behaviour]] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
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
