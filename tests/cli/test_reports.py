"""`relay profiles`, `relay explain` and `relay doctor`: nothing that is known is left out, and it fits a terminal."""

from __future__ import annotations

import dataclasses
import json

import anyio
import pytest

from relay.abilities import KINDS
from relay.behaviours import installed_behaviours
from relay.fidelity import assess
from relay.observe import Fidelity, Support, survey
from relay.profiles import COLUMNS, Profile, available, columns_of, describe_settings, load_profile, profile_names
from relay.settings import read_value
from relay.stack import Stack
from relay.wire.namespace.trial import find_support
from support.forks import relay_in_fork

_WIDTH = 80
PROFILES = [profile.name for profile in available()]


def report(*arguments: str) -> str:
    done = relay_in_fork(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def block_of(quirk: str, explained: str) -> str:
    """The part of an explanation that is about one quirk."""
    return next(block for block in explained.split("\n\n") if block.startswith((f"{quirk} ", f"{quirk}:")))


def check_width(text: str) -> None:
    assert [line for line in text.splitlines() if len(line) > _WIDTH and "://" not in line] == []


def check_support(support: Support, text: str) -> None:
    """Whether the text says what this host gives, through what, and the remedy if that is not all one may want."""
    words = unwrapped(text)
    assert f"{support.fidelity.value} here, through {support.provider} {unwrapped(support.how)}" in words
    assert (f"remedy: {unwrapped(support.remedy)}" in words) is bool(support.remedy)


def test_every_profile_is_listed_with_its_aliases_and_whose_nat_it_is() -> None:
    listed = report("profiles")
    check_width(listed)
    lines = listed.splitlines()
    for profile in available():
        at = lines.index(", ".join((profile.name, *profile.aliases)))
        assert profile.title in unwrapped(" ".join(lines[at + 1 : at + 3]))
        assert profile.era in listed


def test_the_table_has_each_profile_and_each_columns_meaning() -> None:
    listed = report("profiles")
    table = listed.split("\n\n", maxsplit=1)[0].splitlines()
    assert table[0].split() == ["profile", *COLUMNS]
    assert [line.split()[0] for line in table[1:]] == PROFILES
    for profile, line in zip(available(), table[1:], strict=True):
        assert unwrapped(line) == unwrapped(" ".join([profile.name, *columns_of(profile).values()]))
    for column, meaning in COLUMNS.items():
        assert f"{column}: {meaning}" in unwrapped(listed)


def test_a_columns_word_is_the_behaviours_own_and_follows_its_settings() -> None:
    def words(*settings: str) -> dict[str, str]:
        return columns_of(load_profile("transparent", settings))

    assert words() == {
        "idle": "-",
        "hear": "-",
        "probes": "-",
        "refused": "refused",
        "half-close": "kept",
        "RST": "RST/RST",
    }
    assert words("close-mapping.half_close=close")["half-close"] == "lost"
    assert words("close-mapping.internal_rst=fin")["RST"] == "FIN/RST"
    assert words("precomplete-handshake.order=internal-first")["refused"] == "open, RST"
    idle = (
        "idle-timeout.after_s=300",
        "idle-timeout.late_s=30",
        "idle-timeout.external=fin",
        "idle-timeout.counts=data",
    )
    assert [words(*idle)[column] for column in ("idle", "hear", "probes")] == ["300-330 s", "RST*/FIN", "useless"]
    assert words("idle-timeout.internal=silence")["hear"] == "-/-"
    assert words("idle-timeout.counts=segments")["probes"] == "count"
    assert (
        words("precomplete-handshake.order=internal-first", "precomplete-handshake.failed=fin")["refused"]
        == "open, FIN"
    )
    assert words("refusal-mapping.refused=silence")["refused"] == "silence"
    assert words("refusal-mapping.timed_out=silence")["refused"] == "refused"
    assert words("close-mapping.enabled=false")["RST"] == "-"


@pytest.mark.parametrize("name", installed_behaviours())
def test_a_behaviour_has_words_for_columns_that_there_are(name: str) -> None:
    assert set(installed_behaviours()[name]().in_short()) <= set(COLUMNS)


@pytest.mark.parametrize("name", profile_names())
def test_every_name_and_alias_can_be_explained(name: str) -> None:
    assert report("explain", name).startswith(f"{load_profile(name).name}: ")


def check_explained(profile: Profile, explained: str) -> None:
    for quirk in profile.quirks:
        block = block_of(quirk.name, explained)
        assert block.startswith(f"{quirk.name} ({quirk.status})\n")
        assert unwrapped((quirk.kind.__doc__ or "").split("\n", maxsplit=1)[0]) in unwrapped(block)
        for setting in describe_settings(quirk.kind):
            assert f"  {setting.name} = {setting.shown(quirk.settings[setting.name])}\n" in block
            assert setting.in_words() in unwrapped(block)
    for quirk in profile.absent:
        assert block_of(quirk.name, explained).startswith(f"{quirk.name}: not in this profile ({quirk.status})\n")
    for quirk in (*profile.quirks, *profile.absent):
        block = block_of(quirk.name, explained)
        for evidence in quirk.evidence:
            versions = f" [{evidence.versions}]" if evidence.versions else ""
            assert f"evidence: {unwrapped(evidence.says + versions)} {unwrapped(evidence.source)}" in unwrapped(block)
        assert block.count("evidence: ") == len(quirk.evidence)


@pytest.mark.parametrize("name", PROFILES)
def test_an_explanation_has_every_quirk_with_its_settings_and_evidence(name: str) -> None:
    explained = report("explain", name)
    check_width(explained)
    check_explained(load_profile(name), explained)


@pytest.mark.parametrize("name", PROFILES)
def test_an_explanation_has_the_stack_with_its_settings_and_evidence(name: str) -> None:
    said = load_profile(name).stack
    block, stack = block_of("stack", report("explain", name)), said.build()
    assert block.startswith(f"stack ({said.status})\n")
    for setting in describe_settings(Stack):
        assert f"  {setting.name} = {setting.shown(getattr(stack, setting.name))}\n" in block
        assert setting.meaning in unwrapped(block)
    assert block.count("evidence: ") == len(said.evidence)
    told = json.loads(report("explain", name, "--json"))["stack"]
    assert {each["name"]: each["value"] for each in told["settings"]} == dataclasses.asdict(stack)
    assert (told["status"], len(told["evidence"])) == (said.status, len(said.evidence))


@pytest.mark.parametrize("name", PROFILES)
def test_an_explanation_says_what_apps_see_and_the_remedy(name: str) -> None:
    profile, explained = load_profile(name), unwrapped(report("explain", name))
    for what, text in (
        ("what apps see", profile.symptom),
        ("in a test", profile.reproduce),
        ("remedy", profile.remedy),
    ):
        assert text
        assert f"{what}: {text}" in explained


def test_the_control_group_is_of_no_era() -> None:
    assert report("explain", "transparent").splitlines()[0].endswith("as nearly as a relay can be one")


@pytest.mark.parametrize("observer", [None, "none"])
@pytest.mark.parametrize("name", PROFILES)
def test_an_explanation_says_what_this_host_can_do_about_each_quirk(name: str, observer: str | None) -> None:
    explained = report("explain", name, *(("--observer", observer) if observer is not None else ()))
    check_width(explained)
    for each in assess(load_profile(name), survey(observer)):
        check_support(each.support, block_of(each.quirk.name, explained))


def test_what_is_set_on_the_command_line_is_explained_as_such() -> None:
    settings = ("tos-reset.mask=0xfc", "link-down-reset.enabled=false")
    explained = report("explain", "vmware-fusion", *(word for text in settings for word in ("--set", text)))
    check_explained(load_profile("vmware-fusion", settings), explained)
    assert "mask = 0xfc" in explained
    assert "set on the command line" in block_of("tos-reset", explained)
    assert block_of("link-down-reset", explained).startswith("link-down-reset: not in this profile")


def test_a_profile_of_ones_own_is_explained_by_its_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("own") / "mine.toml"
    path.write_text('title = "Mine"\nextends = "vmware-fusion"\n')
    explained = report("explain", str(path))
    assert "Mine" in explained.split("\n\n", maxsplit=1)[0]
    check_explained(load_profile(str(path)), explained)


@pytest.mark.parametrize("observer", [None, "none"])
def test_the_doctor_says_of_every_fact_what_this_host_gives(observer: str | None) -> None:
    told = report("doctor", *(("--observer", observer) if observer is not None else ()))
    check_width(told)
    lines = told.splitlines()
    heads = [lines.index(want.title) for want in KINDS]
    assert heads == sorted(heads)
    given = survey(observer)
    for fact, start, end in zip(KINDS, heads, [*heads[1:], len(lines)], strict=True):
        check_support(given.of(fact), "\n".join(lines[start + 1 : end]))


def test_the_doctor_says_what_a_command_can_have_to_itself() -> None:
    found = anyio.run(find_support)
    told = report("doctor")
    for title, support in found.items():
        check_support(support, told.partition(f"\n{title}\n")[2])
    assert json.loads(report("doctor", "--json"))["commands"] == {
        title: as_data(support) for title, support in found.items()
    }


def test_what_the_doctor_finds_impossible_comes_with_a_remedy() -> None:
    given = survey("none")
    impossible = [support for support in given.support.values() if support.fidelity is Fidelity.IMPOSSIBLE]
    assert len(impossible) == 2
    assert all(support.remedy for support in impossible)
    assert report("doctor", "--observer", "none").count("remedy: ") >= len(impossible)


def test_a_setting_is_explained_with_its_unit_and_range() -> None:
    explained = unwrapped(report("explain", "vmware-fusion"))
    assert "external_close_delay_ms = 105 how long after the reset the server gets a FIN" in explained
    assert "(an integer from 0 to 60000, in ms; default: 105)" in explained


def test_a_setting_is_shown_as_a_profile_has_it_and_its_unit_is_said_once() -> None:
    explained = unwrapped(report("explain", "aws-nat-gateway", "--set", "tos-reset.mask=252"))
    assert "after_s = 350 how long without traffic, in s (a number from 0.001 to 31536000; default: 350)" in explained
    assert "silence_s = 900 how long the silence lasts before the app is reset" in explained
    assert "mask = 0xfc" in explained
    assert "syn_fin_dials = true whether SYN with FIN" in explained


@pytest.mark.parametrize("name", PROFILES)
def test_what_is_shown_of_a_setting_may_be_set(name: str) -> None:
    for quirk in load_profile(name).quirks:
        for setting in describe_settings(quirk.kind):
            value = quirk.settings[setting.name]
            assert read_value(quirk.kind, setting.name, setting.shown(value), where="") == value


def test_profiles_as_json_are_those_that_the_text_lists() -> None:
    listed = json.loads(report("profiles", "--json"))
    assert [tuple(each.values()) for each in listed] == [
        (profile.name, list(profile.aliases), profile.title, profile.era, columns_of(profile))
        for profile in available()
    ]


@pytest.mark.parametrize("observer", [None, "none"])
def test_the_doctors_json_has_the_support_of_every_fact(observer: str | None) -> None:
    told = json.loads(report("doctor", "--json", *(("--observer", observer) if observer is not None else ())))
    assert told.keys() == {"system", "python", "abilities", "commands"}
    assert told["abilities"] == {want.title: as_data(survey(observer).of(want)) for want in KINDS}


@pytest.mark.parametrize("name", PROFILES)
def test_an_explanations_json_has_what_the_text_has(name: str) -> None:
    told = json.loads(report("explain", name, "--json", "--set", "tos-reset.mask=0xfc"))
    profile = load_profile(name, ["tos-reset.mask=0xfc"])
    assert (told["name"], told["title"], told["columns"]) == (profile.name, profile.title, columns_of(profile))
    for data, each in zip(told["quirks"], assess(profile, survey()), strict=True):
        assert (data["name"], data["status"], data["here"]) == (
            each.quirk.name,
            each.quirk.status,
            as_data(each.support),
        )
        assert {setting["name"]: setting["value"] for setting in data["settings"]} == dict(each.quirk.settings)
        assert len(data["evidence"]) == len(each.quirk.evidence)
        for setting in data["settings"]:
            assert setting.keys() == {"name", "value", "default", "unit", "meaning", "low", "high", "choices"}
    assert [absent["name"] for absent in told["absent"]] == [absent.name for absent in profile.absent]


def as_data(support: Support) -> dict[str, object]:
    return {
        "fidelity": support.fidelity.value,
        "provider": support.provider,
        "how": support.how,
        "remedy": support.remedy or None,
    }
