"""`relay explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from relay import defaults
from relay.cli.completion import complete_profile
from relay.cli.parameters import JsonOption, ObserverOption, SetOption
from relay.cli.terminal import colour, stdout, tell, tell_json


def explain(
    name: Annotated[
        str,
        typer.Argument(metavar="PROFILE", help="A profile's name, or a TOML file.", autocompletion=complete_profile),
    ] = defaults.PROFILE,
    settings: SetOption = None,
    observer: ObserverOption = None,
    json: JsonOption = False,
) -> None:
    """Show a profile's quirks, settings and evidence.

    Also shows how well this host can reproduce each quirk.
    """
    from relay.cli.reports.explain import explain_profile, profile_as_json
    from relay.fidelity import assess
    from relay.observe import survey
    from relay.profiles import load_profile

    profile = load_profile(name, tuple(settings or ()))
    assessed = assess(profile, survey(observer))
    if json:
        tell_json(profile_as_json(profile, assessed))
    else:
        tell(explain_profile(profile, assessed, colour=colour(stdout())))
