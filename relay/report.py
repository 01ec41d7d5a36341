"""What the command line prints about profiles and this host: text in, text out, 80 columns wide where it can be."""

from __future__ import annotations

import platform
import sys
import textwrap
from collections.abc import Iterable, Iterator

from relay.abilities import KINDS
from relay.address import Endpoint
from relay.fidelity import QuirkFidelity
from relay.observe import Fidelity, Support, Survey
from relay.printable import escape_unprintable
from relay.profiles import Profile, Quirk, available
from relay.server import Started
from relay.workers import Workers

WIDTH = 80
_COLOURS = {Fidelity.EXACT: "\x1b[32m", Fidelity.APPROXIMATE: "\x1b[33m", Fidelity.IMPOSSIBLE: "\x1b[31m"}
_PLAIN = "\x1b[0m"


def profiles() -> str:
    """Every shipped profile: its names, and whose NAT it is."""
    lines: list[str] = []
    for each in available():
        lines += [", ".join((each.name, *each.aliases)), *_indented(_heading(each))]
    return "\n".join(lines)


def explain(profile: Profile, assessed: Iterable[QuirkFidelity], *, colour: bool) -> str:
    """A profile's quirks: what each does, how it is set, how that is known, and what this host can do about it."""
    blocks = ["\n".join(_indented(f"{escape_unprintable(profile.name)}: {_heading(profile)}", by=""))]
    for each in assessed:
        quirk = each.quirk
        doc = (quirk.kind.__doc__ or "").strip().partition("\n")[0]
        lines = [f"{quirk.name} ({quirk.status})", *_indented(doc)]
        lines += [f"  {name} = {_setting(name, value)}" for name, value in quirk.settings.items()]
        lines += list(_support(each.support, colour=colour))
        blocks.append("\n".join([*lines, *_evidence(quirk)]))
    blocks += [
        "\n".join([f"{absent.name}: not in this profile ({absent.status})", *_evidence(absent)])
        for absent in profile.absent
    ]
    return "\n\n".join(blocks)


def doctor(survey: Survey, *, colour: bool) -> str:
    """What this host can see and do."""
    lines = [f"{platform.system()} {platform.release()}, Python {sys.version.partition(' ')[0]}", ""]
    for kind in KINDS:
        lines += [kind.title, *_support(survey.of(kind), colour=colour)]
    return "\n".join(lines)


def banner(relay: Started, *, colour: bool) -> str:
    """What a user needs to know when a relay has started."""
    profile = relay.config.profile
    lines = [escape_unprintable(f"profile {profile.name}: {profile.title}")]
    if relay.address is not None:
        userinfo = "USER:PASS@" if relay.config.auth is not None else ""
        lines += [
            f"proxy   {relay.address}  (SOCKS4, SOCKS4a, SOCKS5, HTTP)",
            f"        export ALL_PROXY=socks5h://{userinfo}{_as_dialled_from_here(relay.address)}",
        ]
    for kind, addresses, specs in (
        ("forward", relay.forward_addresses, relay.config.forwards),
        ("inbound", relay.inbound_addresses, relay.config.inbound),
    ):
        lines += [
            escape_unprintable(f"{kind} {address} -> {spec.target}")
            for address, spec in zip(addresses, specs, strict=True)
        ]
    if isinstance(relay, Workers):
        lines.append(f"workers {relay.count} processes, among which the kernel spreads connections by their addresses")
    for each in relay.fidelity:
        support = each.support
        line = f"  {_painted(support.fidelity, colour=colour)} {each.quirk.name}"
        if support.fidelity is not Fidelity.EXACT:
            line += f": {support.how}" + (f"; {support.remedy}" if support.remedy else "")
        lines.append(line)
    return "\n".join(lines)


def _as_dialled_from_here(address: Endpoint) -> Endpoint:
    if address.ip is None or not address.ip.is_unspecified:
        return address
    return Endpoint("::1" if address.ip.version == 6 else "127.0.0.1", address.port)


def _heading(profile: Profile) -> str:
    return f"{profile.title}, {profile.era}" if profile.era else profile.title


def _evidence(quirk: Quirk) -> Iterator[str]:
    for evidence in quirk.evidence:
        versions = f" [{evidence.versions}]" if evidence.versions else ""
        yield from _indented(f"evidence: {evidence.says}{versions}")
        yield f"    {evidence.source}"


def _support(support: Support, *, colour: bool) -> Iterator[str]:
    yield f"  {_painted(support.fidelity, colour=colour)} here, through {support.provider}"
    yield from _indented(support.how, by="    ")
    if support.remedy:
        yield from _indented(f"remedy: {support.remedy}", by="    ")


def _painted(fidelity: Fidelity, *, colour: bool) -> str:
    word = f"{fidelity.value:11}"
    return f"{_COLOURS[fidelity]}{word}{_PLAIN}" if colour else word


def _setting(name: str, value: object) -> str:
    return f"0x{value:02x}" if name == "mask" and isinstance(value, int) else str(value)


def _indented(text: str, by: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=by, subsequent_indent=by + "  ", break_long_words=False)
