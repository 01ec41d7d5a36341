"""`relay explain`: a profile's quirks and stack, their settings and evidence, and what this host can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relay.cli.reports.paragraphs import heading, indented, support_lines
from relay.cli.reports.support import support_as_json
from relay.fidelity import QuirkFidelity
from relay.printable import escape_unprintable
from relay.profiles import Evidence, Profile, Quirk, Setting, StackSettings, columns_of, describe_settings
from relay.stack import Stack

_STACK_SUMMARY = "The relay's own TCP/IP toward a guest, in wire mode."


def explain_profile(profile: Profile, assessed: Iterable[QuirkFidelity], *, colour: bool) -> str:
    """A profile's quirks: what each does, how it is set, how that is known, and what this host can do about it."""
    blocks = ["\n".join(indented(f"{escape_unprintable(profile.name)}: {heading(profile)}", by=""))]
    told = (("what apps see", profile.symptom), ("in a test", profile.reproduce), ("remedy", profile.remedy))
    if said := [line for what, text in told if text for line in indented(f"{what}: {text}", by="")]:
        blocks.append("\n".join(said))
    for each in assessed:
        quirk = each.quirk
        lines = [f"{quirk.name} ({quirk.status})", *indented(_summary(quirk))]
        for setting in describe_settings(quirk.kind):
            lines += _setting_lines(setting, quirk.settings[setting.name])
        lines += _when_lines(quirk)
        lines += list(support_lines(each.support, colour=colour))
        blocks.append("\n".join([*lines, *_evidence(quirk.evidence)]))
    blocks += [
        "\n".join([f"{absent.name}: not in this profile ({absent.status})", *_evidence(absent.evidence)])
        for absent in profile.absent
    ]
    blocks.append("\n".join(_stack_lines(profile.stack)))
    return "\n\n".join(blocks)


def profile_as_json(profile: Profile, assessed: Iterable[QuirkFidelity]) -> dict[str, object]:
    """The same as data. `columns` is its row of the table of `relay profiles`.

    A setting has `low` and `high`, or `choices`; what does not apply is null.
    """
    stack, settings = profile.stack.build(), describe_settings(Stack)
    return {
        "name": profile.name,
        "title": profile.title,
        "era": profile.era,
        "aliases": list(profile.aliases),
        "symptom": profile.symptom or None,
        "reproduce": profile.reproduce or None,
        "remedy": profile.remedy or None,
        "columns": columns_of(profile),
        "quirks": [
            {
                "name": each.quirk.name,
                "summary": _summary(each.quirk),
                "status": each.quirk.status,
                "settings": [
                    _setting_as_json(setting, each.quirk.settings[setting.name])
                    for setting in describe_settings(each.quirk.kind)
                ],
                "when": dict(each.quirk.when.given),
                "evidence": _evidence_as_json(each.quirk.evidence),
                "here": support_as_json(each.support),
            }
            for each in assessed
        ],
        "absent": [
            {"name": absent.name, "status": absent.status, "evidence": _evidence_as_json(absent.evidence)}
            for absent in profile.absent
        ],
        "stack": {
            "summary": _STACK_SUMMARY,
            "status": profile.stack.status,
            "settings": [_setting_as_json(setting, getattr(stack, setting.name)) for setting in settings],
            "evidence": _evidence_as_json(profile.stack.evidence),
        },
    }


def _stack_lines(said: StackSettings) -> Iterator[str]:
    stack = said.build()
    yield f"stack ({said.status})"
    yield from indented(_STACK_SUMMARY)
    for setting in describe_settings(Stack):
        yield from _setting_lines(setting, getattr(stack, setting.name))
    yield from _evidence(said.evidence)


def _summary(quirk: Quirk) -> str:
    return (quirk.kind.__doc__ or "").strip().partition("\n")[0]


def _when_lines(quirk: Quirk) -> list[str]:
    given = quirk.when.given
    text = ", ".join(f"{name} = {value}" for name, value in given.items())
    return indented(f"only for connections with: {escape_unprintable(text)}") if given else []


def _setting_lines(setting: Setting, value: object) -> Iterator[str]:
    yield f"  {setting.name} = {setting.shown(value)}"
    yield from indented(setting.in_words(), by="    ")


def _setting_as_json(setting: Setting, value: object) -> dict[str, object]:
    return {
        "name": setting.name,
        "value": value,
        "default": setting.default,
        "unit": setting.unit or None,
        "meaning": setting.meaning,
        "low": setting.low,
        "high": setting.high,
        "choices": list(setting.choices) or None,
    }


def _evidence(pieces: Iterable[Evidence]) -> Iterator[str]:
    for evidence in pieces:
        versions = f" [{evidence.versions}]" if evidence.versions else ""
        yield from indented(f"evidence: {evidence.says}{versions}")
        yield f"    {evidence.source}"


def _evidence_as_json(pieces: Iterable[Evidence]) -> list[dict[str, object]]:
    return [
        {"source": evidence.source, "says": evidence.says, "versions": evidence.versions or None} for evidence in pieces
    ]
