"""What a shell completes after an option: names of profiles, behaviours and their settings, observers, backends.

Called by the shell at each press of the Tab key, so each imports only what it needs.
"""

from __future__ import annotations

from pathlib import Path


def complete_profile(incomplete: str) -> list[str]:
    """Profiles by name and alias, and TOML files."""
    from relay.profiles import profile_names

    return [name for name in (*profile_names(), *_toml_files(incomplete)) if name.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """Behaviours and the stack, then the settings of the one that is named, then the values of one that has choices."""
    from relay.behaviours import When, installed_behaviours, with_aliases
    from relay.profiles import describe_settings
    from relay.stack import Stack

    behaviour, dot, rest = incomplete.partition(".")
    known = {**with_aliases(installed_behaviours()), Stack.name: Stack}
    if not dot or behaviour not in known:
        return [f"{name}." for name in known if name.startswith(behaviour)]
    setting, equals, _ = rest.partition("=")
    settings = {each.name: each.choices for each in describe_settings(known[behaviour])}
    if behaviour != Stack.name:
        settings["enabled"] = ("true", "false")
        settings |= {f"when.{each.name}": () for each in describe_settings(When)}
    if not equals:
        offered = [f"{behaviour}.{name}=" for name in settings]
    else:
        offered = [f"{behaviour}.{setting}={choice}" for choice in settings.get(setting, ())]
    return [each for each in offered if each.startswith(incomplete)]


def complete_observer(incomplete: str) -> list[str]:
    """Observers by name."""
    from relay.observe import observer_names

    return [name for name in observer_names() if name.startswith(incomplete)]


def complete_backend(incomplete: str) -> list[str]:
    """Backends by name."""
    from relay.backend import BACKENDS

    return [name for name in BACKENDS if name.startswith(incomplete)]


def _toml_files(incomplete: str) -> list[str]:
    directory, slash, name = incomplete.rpartition("/")
    try:
        found = sorted(Path(f"{directory}{slash}" or ".").iterdir())
    except OSError:
        return []
    return [
        f"{directory}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(name) and (path.suffix == ".toml" or path.is_dir())
    ]
