"""docs/profiles.md says what the profiles say: its table and its sections are made from them."""

from __future__ import annotations

import pytest

from relay.profiles import available
from support import profile_reference


@pytest.mark.parametrize("part", ["table", "sections"])
def test_the_page_is_what_the_profiles_make_it(part: str) -> None:
    made = profile_reference.references()[part]
    assert profile_reference.PAGE.written(part) == made, "cd tests && python -m support.profile_reference"


def test_each_profile_has_a_section_with_all_its_evidence() -> None:
    made = profile_reference.references()["sections"]
    sections = dict(section.split("\n", maxsplit=1) for section in made.split("### ")[1:])
    for profile in available():
        section = sections[profile.name]
        assert f'`@pytest.mark.nat_relay("{profile.name}")`' in section
        for text in (profile.symptom, profile.reproduce, profile.remedy):
            assert text in section
        for quirk in (*profile.quirks, *profile.absent):
            for evidence in quirk.evidence:
                assert evidence.says.replace("|", "\\|").replace("*", "\\*") in section
