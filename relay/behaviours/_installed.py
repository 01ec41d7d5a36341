"""Finds the behaviours: this package's own modules, then the entry points of others."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from relay.behaviours._api import Behaviour
from relay.errors import BrokenBehaviour

ENTRY_POINT_GROUP = "relay.behaviours"
_PACKAGE = "relay.behaviours"


@cache
def installed_behaviours() -> Mapping[str, type[Behaviour]]:
    """Every behaviour by its name.

    An entry point that cannot be loaded, is no behaviour, or takes a name that is taken, is left out: with a
    `BrokenBehaviour` warning of one line, for the package that brings it may have nothing to do with this relay.
    """
    found: dict[str, type[Behaviour]] = {}
    for module in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__):
        if not module.name.startswith("_"):
            for value in vars(importlib.import_module(f"{_PACKAGE}.{module.name}")).values():
                if isinstance(value, type) and issubclass(value, Behaviour) and value is not Behaviour:
                    found[value.name] = value
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            kind = _loaded(entry, found)
        except Exception as fault:
            text = f"the behaviour of entry point {entry.name!r} ({entry.value}) is left out: {_described(fault)}"
            warnings.warn(text, BrokenBehaviour, stacklevel=2)
        else:
            found[kind.name] = kind
    return found


def with_aliases(kinds: Mapping[str, type[Behaviour]]) -> dict[str, type[Behaviour]]:
    """The same behaviours, by their names and then by their other names, as far as no behaviour has these."""
    others = {alias: kind for kind in kinds.values() for alias in kind.aliases if alias not in kinds}
    return {**kinds, **others}


def _loaded(entry: EntryPoint, found: Mapping[str, type[Behaviour]]) -> type[Behaviour]:
    loaded = entry.load()
    if not (isinstance(loaded, type) and issubclass(loaded, Behaviour)):
        raise TypeError("it is no subclass of relay.behaviours.Behaviour")
    if found.get(loaded.name, loaded) is not loaded:
        raise TypeError(f"the name {loaded.name!r} is taken; rename the class")
    return loaded


def _described(fault: Exception) -> str:
    return " ".join(f"{type(fault).__name__}: {fault}".split())
