"""`relay doctor`."""

from __future__ import annotations

from relay.cli.parameters import JsonOption, ObserverOption
from relay.cli.terminal import colour, stdout, tell, tell_json


def doctor(observer: ObserverOption = None, json: JsonOption = False) -> None:
    """Show what this host can reproduce, with remedies."""
    from relay.cli.reports.doctor import describe_host, host_as_json
    from relay.observe import survey

    found = survey(observer)
    if json:
        tell_json(host_as_json(found))
    else:
        tell(describe_host(found, colour=colour(stdout())))
