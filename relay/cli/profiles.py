"""`relay profiles`."""

from __future__ import annotations

from relay.cli.parameters import JsonOption
from relay.cli.terminal import tell, tell_json


def profiles(json: JsonOption = False) -> None:
    """List the profiles."""
    from relay.cli.reports.profiles import list_profiles, profiles_as_json

    if json:
        tell_json(profiles_as_json())
    else:
        tell(list_profiles())
