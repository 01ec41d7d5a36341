"""`relay explain`: a profile's quirks, their evidence, and what this host can do about each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from relay.cli.paragraphs import heading, indented, support_lines
from relay.cli.parameters import ObserverOption, SetOption
from relay.cli.terminal import colour, stdout, tell
from relay.config import DEFAULT_PROFILE
from relay.fidelity import QuirkFidelity, assess
from relay.observe import survey
from relay.printable import escape_unprintable
from relay.profiles import Profile, Quirk, load_profile


def explain(
    name: Annotated[str, typer.Argument(help="A profile's name, or a TOML file.")] = DEFAULT_PROFILE,
    settings: SetOption = None,
    observer: ObserverOption = None,
) -> None:
    """Show a profile's quirks, their evidence, and what this host can do about each."""
    profile = load_profile(name, tuple(settings or ()))
    tell(_explained(profile, assess(profile, survey(observer)), colour=colour(stdout())))


def _explained(profile: Profile, assessed: Iterable[QuirkFidelity], *, colour: bool) -> str:
    """A profile's quirks: what each does, how it is set, how that is known, and what this host can do about it."""
    blocks = ["\n".join(indented(f"{escape_unprintable(profile.name)}: {heading(profile)}", by=""))]
    for each in assessed:
        quirk = each.quirk
        doc = (quirk.kind.__doc__ or "").strip().partition("\n")[0]
        lines = [f"{quirk.name} ({quirk.status})", *indented(doc)]
        lines += [f"  {name} = {_setting(name, value)}" for name, value in quirk.settings.items()]
        lines += list(support_lines(each.support, colour=colour))
        blocks.append("\n".join([*lines, *_evidence(quirk)]))
    blocks += [
        "\n".join([f"{absent.name}: not in this profile ({absent.status})", *_evidence(absent)])
        for absent in profile.absent
    ]
    return "\n\n".join(blocks)


def _evidence(quirk: Quirk) -> Iterator[str]:
    for evidence in quirk.evidence:
        versions = f" [{evidence.versions}]" if evidence.versions else ""
        yield from indented(f"evidence: {evidence.says}{versions}")
        yield f"    {evidence.source}"


def _setting(name: str, value: object) -> str:
    return f"0x{value:02x}" if name == "mask" and isinstance(value, int) else str(value)
