"""Every requirement of RFC 9293 is a row of the conformance table or left out of it, and every row has tests."""

from __future__ import annotations

from collections import Counter

import pytest

from support import conformance


def test_every_requirement_is_in_one_row_or_left_out_for_a_reason() -> None:
    listed = Counter(one for each in conformance.rows() for one in each.ids)
    listed.update(one for ids, _ in conformance.left_out() for one in ids)
    assert {one for one, count in listed.items() if count > 1} == set()
    assert listed.keys() ^ conformance.REQUIREMENTS == set()


def test_every_row_is_shown_by_a_test_that_its_ids_name() -> None:
    named = {one for name in conformance.tests() for one in conformance.ids_in(name)}
    rows = conformance.rows()
    assert {one for each in rows for one in each.ids} ^ named == set()
    for each in rows:
        assert any(each.is_shown_by(name) for name in conformance.tests()), each


def test_every_setting_of_the_stack_in_which_the_profiles_differ_is_in_the_table_with_evidence() -> None:
    control, vmnat = conformance.CONTROL.settings, conformance.VMNAT.settings
    differing = {name for name in vmnat if vmnat[name] != control.get(name)}
    listed = {name for each in conformance.rows() for name in each.differing}
    assert differing - listed == conformance.OTHER_SETTINGS
    for each in conformance.rows():
        assert set(each.settings) <= vmnat.keys(), each
        assert bool(each.vmnat) == bool(each.source) >= bool(each.differing), each
        if each.source:
            conformance.evidence_of(each)


@pytest.mark.parametrize("part", ["table", "left out"])
def test_the_page_is_what_the_rows_and_the_tests_make_it(part: str) -> None:
    made = conformance.references()[part]
    assert conformance.PAGE.written(part) == made, "cd tests && python -m support.conformance"
