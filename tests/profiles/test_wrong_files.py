"""Wrong files: one line that names the file and the key, a hint at what is accepted, exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from relay.errors import ConfigError
from relay.profiles import load_profile

Write: TypeAlias = Callable[..., str]

MASK_MEANS = "mask: bits of the TOS byte that must equal the SYN's"
STATUSES = "observed, documented, reported, assumed"
CLAIM = '[tos-reset]\nstatus = "observed"\n[[tos-reset.evidence]]\n'

WRONG = {
    "no title": ("era = 'now'", "no title", "say whose NAT it is"),
    "empty title": ("title = ''", "no title", "say whose NAT it is"),
    "title is a number": ("title = 11", "title: 11 is not a string", "put it in quotes"),
    "an escape character in the title": (
        'title = "\\u001b[31mx"',
        r"title: '\x1b[31mx' has control or invisible characters",
        "leave them out",
    ),
    "a title that is read from the right": (
        'title = "a\\u202eb"',
        r"title: 'a\u202eb' has control or invisible characters",
        "leave them out",
    ),
    "evidence with a character that is not seen": (
        f"title = 'x'\n{CLAIM}source = 'a'\nsays = \"b\\u200bc\"",
        r"tos-reset.evidence, number 1.says: 'b\u200bc' has control or invisible characters",
        "leave them out",
    ),
    "two lines of title": (r'title = "x\ny"', r"title: 'x\ny' has control or invisible characters", "leave them out"),
    "an escape character in the era": (
        'title = "x"\nera = "\\u009b31m"',
        r"era: '\x9b31m' has control or invisible characters",
        "leave them out",
    ),
    "a NUL in the base": (
        'title = "x"\nextends = "\\u0000/"',
        r"extends: '\x00/' has control or invisible characters",
        "leave them out",
    ),
    "a bell in an alias": (
        'title = "x"\naliases = ["\\u0007"]',
        r"aliases: '\x07' has control or invisible characters",
        "leave them out",
    ),
    "an escape character in evidence": (
        f"title = 'x'\n{CLAIM}source = 'a'\nsays = \"\\u001bc\"",
        r"tos-reset.evidence, number 1.says: '\x1bc' has control or invisible characters",
        "leave them out",
    ),
    "era is a date": ("title = 'x'\nera = 2019", "era: 2019 is not a string", "put it in quotes"),
    "extends is a list": ("title = 'x'\nextends = ['y']", "extends: ['y'] is not a string", "put it in quotes"),
    "aliases is a string": ("title = 'x'\naliases = 'y'", "aliases: 'y' is not a list of strings", "e.g. aliases = "),
    "an alias is a number": ("title = 'x'\naliases = [1]", "aliases: [1] is not a list of strings", "e.g. aliases = "),
    "misspelt key": ("titel = 'x'", "unknown key or behaviour 'titel'", "did you mean title? there are: title, era, "),
    "misspelt behaviour": (
        "title = 'x'\n[tos-rest]",
        "unknown key or behaviour 'tos-rest'",
        "did you mean tos-reset? there are: ",
    ),
    "nothing like it": ("title = 'x'\n[zzz]", "unknown key or behaviour 'zzz'", "there are: title, era, "),
    "no such base": (
        "title = 'x'\nextends = 'vmware-fusio'",
        "extends: unknown profile 'vmware-fusio'",
        "did you mean vmware-fusion, vmware-fusion-11 or vmware-workstation? `relay profiles` lists all",
    ),
    "no table": ("title = 'x'\ntos-reset = true", "tos-reset is not a table", "write [tos-reset], "),
    "misspelt setting": (
        "title = 'x'\n[tos-reset]\nmasc = 1",
        "tos-reset.masc: tos-reset has no setting 'masc'",
        "did you mean mask? its settings: mask, external_close_delay_ms",
    ),
    "a setting that is like no other": (
        "title = 'x'\n[link-down-reset]\nhard = true",
        "link-down-reset.hard: link-down-reset has no setting 'hard'",
        "its settings: internal, external, silence_s, every_s, jitter_s",
    ),
    "string for an integer": (
        "title = 'x'\n[tos-reset]\nmask = '0xE0'",
        "tos-reset.mask: '0xE0' is not an integer from 1 to 255",
        MASK_MEANS,
    ),
    "truth for an integer": (
        "title = 'x'\n[tos-reset]\nmask = true",
        "tos-reset.mask: true is not an integer from 1 to 255",
        MASK_MEANS,
    ),
    "fraction for an integer": (
        "title = 'x'\n[tos-reset]\nmask = 224.0",
        "tos-reset.mask: 224.0 is not an integer from 1 to 255",
        MASK_MEANS,
    ),
    "too little": (
        "title = 'x'\n[tos-reset]\nmask = 0",
        "tos-reset.mask: 0 is not an integer from 1 to 255",
        MASK_MEANS,
    ),
    "too much": (
        "title = 'x'\n[tos-reset]\nmask = 0x100",
        "tos-reset.mask: 256 is not an integer from 1 to 255",
        MASK_MEANS,
    ),
    "no such choice": (
        "title = 'x'\n[close-mapping]\nhalf_close = 'drop'",
        "close-mapping.half_close: 'drop' is not 'pass' or 'close'",
        "half_close: pass: a FIN ends one direction",
    ),
    "a table for a setting": (
        "title = 'x'\n[tos-reset.mask]\nvalue = 1",
        "tos-reset.mask: {'value': 1} is not an integer from 1 to 255",
        MASK_MEANS,
    ),
    "enabled is a string": (
        "title = 'x'\n[tos-reset]\nenabled = 'no'",
        "tos-reset.enabled: 'no' is not true or false",
        "false removes what the base has",
    ),
    "unknown status": (
        "title = 'x'\n[tos-reset]\nstatus = 'sure'",
        "tos-reset.status: unknown status 'sure'",
        f"it is one of {STATUSES}",
    ),
    "status is a list": (
        "title = 'x'\n[tos-reset]\nstatus = ['observed']",
        "tos-reset.status: unknown status ['observed']",
        f"it is one of {STATUSES}",
    ),
    "a claim without evidence": (
        "title = 'x'\n[tos-reset]\nstatus = 'reported'",
        "tos-reset.status: 'reported' without evidence",
        "add [[tos-reset.evidence]], or say assumed",
    ),
    "evidence for no claim": (
        "title = 'x'\n[[tos-reset.evidence]]\nsource = 'a'\nsays = 'b'",
        "tos-reset: evidence without a status",
        f"say what it amounts to: {STATUSES}",
    ),
    "evidence is a string": (
        "title = 'x'\n[tos-reset]\nevidence = 'a capture'",
        "tos-reset.evidence: not a list of tables",
        "write [[BEHAVIOUR.evidence]], once for each",
    ),
    "evidence is a list of strings": (
        "title = 'x'\n[tos-reset]\nevidence = ['a capture']",
        "tos-reset.evidence: not a list of tables",
        "write [[BEHAVIOUR.evidence]], once for each",
    ),
    "no source": (
        f"title = 'x'\n{CLAIM}says = 'b'",
        "tos-reset.evidence, number 1: no source",
        "evidence needs a source, and what it says",
    ),
    "says nothing": (
        f"title = 'x'\n{CLAIM}source = 'a'\nsays = 'b'\n[[tos-reset.evidence]]\nsource = 'c'\nsays = ''",
        "tos-reset.evidence, number 2: no says",
        "evidence needs a source, and what it says",
    ),
    "misspelt evidence": (
        f"title = 'x'\n{CLAIM}source = 'a'\nsays = 'b'\nversion = '1'",
        "tos-reset.evidence, number 1: unknown key 'version'",
        "did you mean versions? it has: source, says, versions",
    ),
    "versions is a number": (
        f"title = 'x'\n{CLAIM}source = 'a'\nsays = 'b'\nversions = 11",
        "tos-reset.evidence, number 1.versions: 11 is not a string",
        "put it in quotes",
    ),
    "infinite": (
        "title = 'x'\n[reminder]\nafter_s = inf",
        "reminder.after_s: inf is not a number",
        "after_s: how long to wait, in seconds",
    ),
    "no number at all": (
        "title = 'x'\n[reminder]\nafter_s = nan",
        "reminder.after_s: nan is not a number",
        "after_s: ",
    ),
    "truth for a number": (
        "title = 'x'\n[reminder]\nafter_s = true",
        "reminder.after_s: true is not a number",
        "after_s: ",
    ),
    "above the only limit": (
        "title = 'x'\n[reminder]\nshare = 1.5",
        "reminder.share: 1.5 is not a number of at most 1",
        "share: of how many flows",
    ),
    "below the only limit": (
        "title = 'x'\n[reminder]\ntimes = 0",
        "reminder.times: 0 is not an integer of at least 1",
        "times: how often",
    ),
    "integer for truth": (
        "title = 'x'\n[reminder]\nloud = 1",
        "reminder.loud: 1 is not true or false",
        "loud: whether",
    ),
    "integer for a string": (
        "title = 'x'\n[reminder]\nwords = 1",
        "reminder.words: 1 is not a string",
        "words: what to",
    ),
    "what it remembers": (
        "title = 'x'\n[reminder]\ncount = 1",
        "reminder.count: reminder has no setting 'count'",
        "its settings: after_s, loud, times, share, words",
    ),
    "settings of a behaviour that is no dataclass": (
        "title = 'x'\n[plain]\nx = 1",
        "plain.x: plain has no setting 'x'",
        "its settings: none",
    ),
    "too large for a number": (
        f"title = 'x'\n[reminder]\nafter_s = {2**2000:#x}",
        "not TOML: an integer has more than 64 bits",
        "its syntax",
    ),
    "arrays in thousands of arrays": (
        "title = " + "[" * 5000,
        "tables or arrays in more than 50 others",
        "three are enough",
    ),
    "table in thousands of tables": (
        "title" + ".a" * 5000 + " = 1",
        "tables or arrays in more than 50 others",
        "three are enough",
    ),
    "refused by the behaviour itself": (
        "title = 'x'\n[reminder]\nwords = 'please'",
        "reminder refuses its settings: ValueError: that is no reminding",
        "after_s = 3.0, loud = False, times = 1, share = 0.5, words = 'please'",
    ),
}


@pytest.mark.usefixtures("reminder_installed")
@pytest.mark.parametrize(("text", "message", "hint"), WRONG.values(), ids=WRONG.keys())
def test_the_file_the_key_and_what_is_accepted_are_named(write: Write, text: str, message: str, hint: str) -> None:
    path = write(text, title=False)
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert str(caught.value) == f"{path}: {message}"
    assert caught.value.hint.startswith(hint)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value) + caught.value.hint


def test_an_error_in_a_base_names_the_base(write: Write) -> None:
    base = write("[tos-reset]\nmask = 0", "base.toml")
    with pytest.raises(ConfigError) as caught:
        load_profile(write('extends = "base.toml"', "top.toml"))
    assert str(caught.value) == f"{base}: tos-reset.mask: 0 is not an integer from 1 to 255"


def test_what_is_no_toml_is_shown_by_its_line(write: Write) -> None:
    path = write("era = 'now'\n[tos-reset\nmask = 1")
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert str(caught.value).startswith(f"{path}: not TOML: ")
    assert "(at line 3, column " in str(caught.value)


def test_what_is_no_text_is_shown_by_its_byte(write: Write) -> None:
    path = write("")
    Path(path).write_bytes(b'title = "\xff"')
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert str(caught.value) == f"{path}: not UTF-8: invalid start byte at byte 9"


@pytest.mark.parametrize("name", ["gone.toml", "./gone", "sub/gone", "sub\\gone"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_profile(name)
    assert str(caught.value) == f"{Path(name)}: No such file or directory"
    assert caught.value.hint == "give a shipped profile's name, or the path of a file"


def test_what_no_file_can_be_called_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile("\0/")
    assert str(caught.value).endswith(": embedded null byte")
    assert "\0" not in str(caught.value)


def test_what_evidence_says_may_have_lines(write: Write) -> None:
    profile = load_profile(write(f'{CLAIM}source = "a"\nsays = """b\n\tc"""'))
    assert "b\n\tc" in [evidence.says for quirk in profile.quirks for evidence in quirk.evidence]


def test_a_folder_is_no_profile(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile(str(tmp_path))
    assert str(caught.value) == f"{tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("vmware-fusoin", "did you mean vmware-fusion, vmware-fusion-11 or vmware-workstation? "),
        ("slrp", "did you mean slirp or libslirp? "),
        ("Transparant", "did you mean transparent? "),
        ("nothing-like-it", ""),
    ],
)
def test_an_unknown_name_is_met_with_the_nearest_three_at_most_and_what_lists_all(name: str, suggestion: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile(name)
    assert str(caught.value) == f"profile: unknown profile {name!r}"
    listing = "`relay profiles` lists all profiles; or give the path of a .toml file"
    assert caught.value.hint == f"{suggestion}{listing}"
