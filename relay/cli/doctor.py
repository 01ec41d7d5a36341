"""`relay doctor`."""

from __future__ import annotations

from relay.cli.parameters import JsonOption, ObserverOption
from relay.cli.terminal import colour, stdout, tell, tell_json


def doctor(observer: ObserverOption = None, json: JsonOption = False) -> None:
    """Show what this host can reproduce, with remedies."""
    import anyio

    from relay.cli.reports.doctor import describe_host, host_as_json
    from relay.observe import survey
    from relay.wire.namespace.trial import find_support

    found, of_commands = survey(observer), anyio.run(find_support)
    if json:
        tell_json(host_as_json(found, of_commands))
    else:
        tell(describe_host(found, of_commands, colour=colour(stdout())))
