"""`relay doctor`."""

from __future__ import annotations

from relay.cli.parameters import JsonOption, ObserverOption
from relay.cli.terminal import colour, stdout, tell, tell_json


def doctor(observer: ObserverOption = None, json: JsonOption = False) -> None:
    """Show what this host can reproduce, with remedies."""
    from relay.cli.reports.doctor import describe_host, find_support_of_commands, host_as_json
    from relay.observe import survey

    found, of_commands = survey(observer), find_support_of_commands()
    if json:
        tell_json(host_as_json(found, of_commands))
    else:
        tell(describe_host(found, of_commands, colour=colour(stdout())))
