"""`relay doctor`: what this host can see and do, and the remedy for what it cannot."""

from __future__ import annotations

import platform
import sys

from relay.abilities import KINDS
from relay.cli.paragraphs import support_lines
from relay.cli.parameters import ObserverOption
from relay.cli.terminal import colour, stdout, tell
from relay.observe import Survey, survey


def doctor(observer: ObserverOption = None) -> None:
    """Show what this host can see and do, and the remedy for what it cannot."""
    tell(_described(survey(observer), colour=colour(stdout())))


def _described(found: Survey, *, colour: bool) -> str:
    """What this host can see and do."""
    lines = [f"{platform.system()} {platform.release()}, Python {sys.version.partition(' ')[0]}", ""]
    for kind in KINDS:
        lines += [kind.title, *support_lines(found.of(kind), colour=colour)]
    return "\n".join(lines)
