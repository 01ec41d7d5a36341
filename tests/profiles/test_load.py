"""Users' own profiles: what extends what, what counts as evidence, and where files are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from relay.errors import ConfigError
from relay.profiles import Evidence, Quirk, load_profile

Write: TypeAlias = Callable[..., str]


def quirk(name: str, path: str, *settings: str) -> Quirk:
    return next(quirk for quirk in load_profile(path, settings).quirks if quirk.name == name)


SEEN = 'status = "observed"\n[[tos-reset.evidence]]\nsource = "a capture"\nsays = "it resets"\nversions = "1.0"\n'


def test_a_file_extends_transparent_unless_it_says_otherwise(write: Write) -> None:
    assert load_profile(write("")).quirks == load_profile("transparent").quirks
    assert load_profile(write('extends = "vmware-fusion"')).quirks == load_profile("vmware-fusion").quirks
    assert load_profile(write('extends = ""')).quirks == ()


def test_its_head_is_its_own(write: Write) -> None:
    path = write('era = "now"\naliases = ["me"]\nextends = "vmware-fusion"')
    profile = load_profile(path)
    assert (profile.name, profile.title, profile.era, profile.aliases) == (path, "Mine", "now", ("me",))


def test_what_it_does_not_mention_keeps_settings_and_evidence(write: Write) -> None:
    path = write('extends = "vmware-fusion"\n[local-ack]\nbuffer_bytes = 64240')
    base = load_profile("vmware-fusion").quirks
    assert [quirk for quirk in load_profile(path).quirks if quirk.name != "local-ack"] == [
        quirk for quirk in base if quirk.name != "local-ack"
    ]


def test_a_changed_setting_is_no_longer_what_was_observed(write: Write) -> None:
    path = write('extends = "vmware-fusion"\n[tos-reset]\nmask = 0xFC')
    base, changed = quirk("tos-reset", "vmware-fusion"), quirk("tos-reset", path)
    assert changed.settings == {"mask": 0xFC, "external_close_delay_ms": 105}
    assert changed.status == "assumed"
    assert changed.evidence == (Evidence(path, "set here, without evidence"), *base.evidence)


def test_a_setting_repeated_unchanged_keeps_the_evidence(write: Write) -> None:
    path = write('extends = "vmware-fusion"\n[tos-reset]\nmask = 224\nenabled = true')
    assert quirk("tos-reset", path) == quirk("tos-reset", "vmware-fusion")


def test_evidence_of_its_own_replaces_the_bases(write: Write) -> None:
    path = write(f'extends = "vmware-fusion"\n[tos-reset]\nmask = 0xFC\n{SEEN}')
    assert quirk("tos-reset", path).status == "observed"
    assert quirk("tos-reset", path).evidence == (Evidence("a capture", "it resets", "1.0"),)


def test_an_assumption_needs_no_evidence_but_says_whose_it_is(write: Write) -> None:
    path = write('[tos-reset]\nstatus = "assumed"')
    assert quirk("tos-reset", path).status == "assumed"
    assert quirk("tos-reset", path).evidence == (Evidence(path, "set here, without evidence"),)


def test_an_empty_table_adds_a_behaviour_with_its_defaults(write: Write) -> None:
    path = write("[tos-reset]")
    assert quirk("tos-reset", path).settings == {"mask": 0xE0, "external_close_delay_ms": 105}
    assert quirk("tos-reset", path).status == "assumed"
    assert load_profile(path).quirks[-1].name == "tos-reset"


def test_a_quirk_is_removed_and_its_absence_has_evidence_of_its_own(write: Write) -> None:
    profile = load_profile(write('extends = "vmware-fusion"\n[tos-reset]\nenabled = false\n' + SEEN))
    assert "tos-reset" not in [quirk.name for quirk in profile.quirks]
    assert [(quirk.name, quirk.status) for quirk in profile.absent] == [("tos-reset", "observed")]
    assert profile.tos_mask == 0


def test_the_evidence_for_a_quirk_is_none_for_its_absence(write: Write) -> None:
    path = write('extends = "vmware-fusion"\n[tos-reset]\nenabled = false')
    (gone,) = load_profile(path).absent
    assert (gone.status, gone.evidence) == ("assumed", (Evidence(path, "set here, without evidence"),))


def test_what_a_base_removed_can_be_put_back(write: Write) -> None:
    path = write('extends = "vmware-workstation-16"\n[tos-reset]\nmask = 0xFC')
    assert load_profile(path).absent == ()
    assert quirk("tos-reset", path).settings["mask"] == 0xFC


@pytest.mark.usefixtures("reminder_installed")
def test_an_integer_will_do_for_a_number(write: Write) -> None:
    value = quirk("reminder", write("[reminder]\nafter_s = 2")).settings["after_s"]
    assert (value, type(value)) == (2.0, float)


def test_extends_takes_paths_relative_to_the_file_itself(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("[tos-reset]\nmask = 1", "base.toml")
    write('extends = "../base.toml"\n[tos-reset]\nexternal_close_delay_ms = 7', "sub/middle.toml")
    path = write('extends = "sub/middle.toml"\n[tos-reset]\nmask = 2', "top.toml")
    monkeypatch.chdir(Path(path).parent)
    for name in (path, "top.toml", "./top.toml"):
        assert quirk("tos-reset", name).settings == {"mask": 2, "external_close_delay_ms": 7}


def test_two_ways_to_the_same_base_are_no_ring(write: Write) -> None:
    write("[tos-reset]\nmask = 1", "base.toml")
    write('extends = "base.toml"', "one.toml")
    assert load_profile(write('extends = "one.toml"', "two.toml")).tos_mask == 1
    assert load_profile(write('extends = "base.toml"', "three.toml")).tos_mask == 1


@pytest.mark.parametrize(
    ("files", "ring"),
    [
        ({"a.toml": "a.toml"}, ["a.toml", "a.toml"]),
        ({"a.toml": "b.toml", "b.toml": "./a.toml"}, ["a.toml", "b.toml", "a.toml"]),
        ({"a.toml": "b.toml", "b.toml": "c.toml", "c.toml": "b.toml"}, ["a.toml", "b.toml", "c.toml", "b.toml"]),
        ({"a.toml": "sub/b.toml", "sub/b.toml": "../a.toml"}, ["a.toml", "sub/b.toml", "sub/../a.toml"]),
    ],
)
def test_a_ring_is_shown_whole(
    write: Write, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], ring: list[str]
) -> None:
    folder = {Path(write(f'extends = "{base}"', name)).parent for name, base in files.items()}
    monkeypatch.chdir(min(folder))
    with pytest.raises(ConfigError) as caught:
        load_profile("a.toml")
    shown = " -> ".join(str(Path(name)) for name in ring)
    assert str(caught.value) == f"a.toml: extends itself: {shown}"
    assert caught.value.exit_code == 2
