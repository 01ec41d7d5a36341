"""`relay doctor`: what this host can see and do, and the remedy for what it cannot."""

from __future__ import annotations

import platform
import socket
import sys
from collections.abc import Mapping

import anyio

from relay.abilities import KINDS
from relay.cli.reports.paragraphs import support_lines
from relay.cli.reports.support import support_as_json
from relay.observe import Fidelity, Support, Survey


def find_support_of_commands() -> Mapping[str, Support]:
    """What `relay run` can give a command here, by title."""
    if sys.platform != "linux" or not hasattr(socket, "AF_UNIX"):
        how, remedy = (
            "it takes Linux's namespaces, and Unix sockets",
            "use relay on Linux, or relay serve, with or without --wire",
        )
        return {"a command's own network": Support(Fidelity.IMPOSSIBLE, "none", how, remedy)}
    from relay.wire.namespace.trial import find_support

    return anyio.run(find_support)


def describe_host(found: Survey, of_commands: Mapping[str, Support], *, colour: bool) -> str:
    """What this host can see and do, and what `relay run` can give a command here, by title."""
    lines = [f"{_system()}, Python {_python()}", ""]
    for kind in KINDS:
        lines += [kind.title, *support_lines(found.of(kind), colour=colour)]
    for title, support in of_commands.items():
        lines += [title, *support_lines(support, colour=colour)]
    return "\n".join(lines)


def host_as_json(found: Survey, of_commands: Mapping[str, Support]) -> dict[str, object]:
    """The same as data; `abilities` is by the ability's title, `commands` by what a command is to have to itself."""
    return {
        "system": _system(),
        "python": _python(),
        "abilities": {kind.title: support_as_json(found.of(kind)) for kind in KINDS},
        "commands": {title: support_as_json(support) for title, support in of_commands.items()},
    }


def _system() -> str:
    return f"{platform.system()} {platform.release()}"


def _python() -> str:
    return sys.version.partition(" ")[0]
