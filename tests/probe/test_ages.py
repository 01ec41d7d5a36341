"""Which ages are tried, and what was seen comes to."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.probe.ages import Fate, at_the_limit, between, bracket, in_words, is_settled, lateness, spread
from relay.probe.findings import Findings
from relay.probe.probes.idle import tell
from relay.probe.probes.keepalive import interval_of
from relay.probe.probes.tos import mask_of

_SECONDS = st.floats(1, 1e6)


def fates(lived: list[float], died: list[float]) -> list[Fate]:
    return [*(Fate(age_s, lived=True) for age_s in lived), *(Fate(age_s, lived=False) for age_s in died)]


def test_ages_are_spread_from_the_shortest_to_the_longest() -> None:
    ages = spread(10, 1200, 16)
    assert len(ages) == 16
    assert ages[0] == 10
    assert ages[-1] == pytest.approx(1200)
    assert all(later / earlier == pytest.approx(ages[1] / ages[0]) for earlier, later in pairwise(ages))
    assert spread(10, 5, 16) == [5]


def test_a_common_limit_is_tried_from_both_sides() -> None:
    ages = between(300, 420, 8)
    assert {346.5, 353.5} <= set(ages)
    assert (ages[0] > 300, ages[-1]) == (True, 420)


@given(_SECONDS, _SECONDS, st.integers(1, 20))
def test_what_is_tried_between_lies_between(one: float, other: float, count: int) -> None:
    lived_s, died_s = sorted((one, other))
    ages = between(lived_s, died_s, count)
    assert ages == sorted(set(ages))
    assert all(lived_s <= age_s <= died_s for age_s in ages)
    assert len(ages) <= count + 1


@given(st.floats(11, 1100))
def test_two_rounds_find_any_limit(limit_s: float) -> None:
    first = [Fate(age_s, lived=age_s < limit_s) for age_s in spread(10, 1200, 16)]
    lived_s, died_s = bracket(first)
    assert died_s is not None
    second = [Fate(age_s, lived=age_s < limit_s) for age_s in between(lived_s, died_s, 8) for _ in range(3)]
    lived_s, died_s = bracket([*first, *second])
    assert died_s is not None
    assert lived_s < limit_s <= died_s
    assert died_s - lived_s < 0.12 * limit_s


def test_words_say_both_sides_and_what_contradicts_them() -> None:
    says, agreed, of = in_words(fates([100, 340, 340, 340], [350, 350, 350, 400]))
    assert says == "quiet connections of 340 s lived (3 of 3), of 350 s died (3 of 3)"
    assert (agreed, of) == (3, 3)
    says, agreed, of = in_words(fates([340, 500], [350]))
    assert says.endswith("1 that were quiet for longer lived")
    assert (agreed, of) == (1, 2)
    assert in_words(fates([10, 20], [])) == ("quiet connections of up to 20 s lived", 2, 2)


def test_longer_ages_are_given_up_when_two_died_and_the_shorter_are_known() -> None:
    ages = [10, 20, 40, 80, 160]
    assert not is_settled(fates([10, 20], [40]), ages)
    assert is_settled(fates([10, 20], [40, 80]), ages)
    assert not is_settled(fates([20], [40, 80]), ages)


def test_a_reset_that_comes_long_after_the_limit_is_not_the_limit() -> None:
    silent = Fate(360, lived=False, internal="silence")
    later = Fate(1250, lived=False, heard=True, internal="rst")
    assert at_the_limit([later, silent]) == [silent]
    assert at_the_limit([later]) == [later]


def ended(lates: list[float], error_s: float = 0.0, *, staggered: bool = True, after_s: float = 600) -> list[Fate]:
    """Connections that were ended unasked, so much later than the limit."""
    return [
        Fate(after_s + late_s, lived=False, heard=True, internal="fin", error_s=error_s, staggered=staggered)
        for late_s in lates
    ]


_SWEPT = [30 * (index * 0.618034 % 1) for index in range(12)]


@given(st.floats(1, 86_400), st.floats(0, 1))
def test_a_nat_that_looks_now_and_then_is_late_by_nearly_the_time_between_two_looks(sweep_s: float, at: float) -> None:
    moments = [60 * (index * 0.618034 % 1) for index in range(12)]
    lates = [-(moment_s + at * sweep_s) % sweep_s for moment_s in moments]
    late_s, agreed, of = lateness([*ended([0], staggered=False), *ended(lates)])
    assert late_s <= sweep_s * (1 + 1e-12)
    assert 3 <= agreed <= of <= 12
    if 10 <= sweep_s <= 60:
        assert late_s >= 0.5 * sweep_s


def test_one_that_is_late_alone_proves_nothing() -> None:
    assert lateness(ended([0, 0.1, 46.3]))[0] == 0
    assert lateness(ended([0, 0.1, 45.9, 46.3]))[0] == 0
    late_s, *count = lateness(ended([*_SWEPT, 46.3]))
    assert late_s == pytest.approx(max(_SWEPT))
    assert count == [11, 12]


def test_all_that_began_together_are_one_observation() -> None:
    assert lateness([*ended([0.0]), *ended([46.3] * 6, staggered=False)])[0] == 0


def test_no_lateness_is_found_that_is_within_what_a_busy_host_adds() -> None:
    assert lateness(ended(_SWEPT, error_s=0.1))[0] == pytest.approx(max(_SWEPT))
    assert lateness(ended(_SWEPT, error_s=16)) == (0.0, 0, 0)
    assert lateness([]) == (0.0, 0, 0)


def test_a_lateness_is_written_where_it_was_found_and_else_is_not() -> None:
    for fates, value in ((ended(_SWEPT), round(max(_SWEPT), 1)), (ended(_SWEPT, error_s=16), None)):
        findings = Findings()
        tell(findings, fates)
        assert findings.value("idle-timeout", "late_s") == value
        assert findings.value("idle-timeout", "after_s") == 600


def test_the_interval_of_probes_lies_where_their_numbers_allow() -> None:
    low_s, high_s = interval_of([(28 * index, 28 * index // 75) for index in range(7)])
    assert low_s <= 75 <= high_s
    assert high_s - low_s < 20
    assert interval_of([(10, 0), (20, 0)])[1] == float("inf")


@given(st.integers(0, 63).map(lambda bits: bits << 2))
def test_a_mask_follows_from_single_bits_and_explains_the_others(mask: int) -> None:
    values = (0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x48, 0xB8)
    assert mask_of({value: bool(value & mask) for value in values}) == mask
    wrong = {value: bool(value & mask) for value in values} | {0x48: not 0x48 & mask}
    assert mask_of(wrong) is None
