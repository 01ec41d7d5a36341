"""The [stack] table of a profile: what it takes, and what is said about what it does not take."""

from __future__ import annotations

import dataclasses

import pytest

from relay.errors import ConfigError
from relay.profiles import available, load_profile
from relay.settings import settings_of
from relay.stack import Stack


def test_what_a_table_leaves_out_is_the_default() -> None:
    stack = Stack.of({"ttl": 128, "first_retransmit_s": 1})
    assert (stack.ttl, stack.first_retransmit_s, stack.mss) == (128, 1.0, 1460)
    assert Stack.of({}) == Stack()


def test_the_control_profile_names_every_setting_and_it_is_the_default() -> None:
    said = load_profile("transparent").stack
    assert said.build() == Stack()
    assert set(settings_of(Stack)) - set(said.settings) == {"isn_bits"}  # of random ones


def test_every_shipped_profile_gives_its_stack_a_status_and_evidence() -> None:
    for profile in available():
        assert profile.stack.settings, profile.name
        assert profile.stack.evidence, profile.name


def test_every_setting_says_what_it_means_and_takes_its_own_default() -> None:
    declared = settings_of(Stack)
    assert list(declared) == [field.name for field in dataclasses.fields(Stack)]
    assert Stack.of({name: field.default for name, field in declared.items()}) == Stack()


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ({"ms": 1460}, "stack.ms: stack has no setting 'ms'", "did you mean mss? its settings: mss, window"),
        ({"mss": 20}, "stack.mss: 20 is not an integer from 48 to 65495", "mss: the largest payload"),
        ({"ack": "third"}, "stack.ack: 'third' is not 'each' or 'second'", "ack: acknowledge each"),
        ({"nagle": 1}, "stack.nagle: 1 is not true or false", "nagle: hold back"),
        ({"window": 1e5}, "stack.window: 100000.0 is not an integer from 1 to 65535", "window: the receive window"),
        ({"time_wait_s": float("nan")}, "stack.time_wait_s: nan is not a number from 0 to 600", "time_wait_s: how"),
    ],
)
def test_a_wrong_table_is_named_and_explained(table: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        Stack.of(table)
    assert str(wrong.value) == message
    assert wrong.value.hint.startswith(hint)


def test_an_error_names_where_the_table_is() -> None:
    with pytest.raises(ConfigError, match=r"^mine\.toml: stack\.mss: "):
        Stack.of({"mss": 0}, where="mine.toml: stack")
