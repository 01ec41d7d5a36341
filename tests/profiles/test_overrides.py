"""`--set BEHAVIOUR.SETTING=VALUE`: what is read, what it does to a profile, and what is refused."""

from __future__ import annotations

import pytest

from relay.errors import ConfigError
from relay.profiles import Evidence, Quirk, forward_profile, load_profile


def set_on(profile: str, *settings: str) -> dict[str, Quirk]:
    return {quirk.name: quirk for quirk in load_profile(profile, settings).quirks}


@pytest.mark.usefixtures("reminder_installed")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tos-reset.mask=0xfc", 0xFC),
        ("tos-reset.mask=0XFC", 0xFC),
        ("tos-reset.mask=252", 252),
        ("tos-reset.mask = 252 ", 252),
        ("tos-reset.external_close_delay_ms=0", 0),
        ("close-mapping.half_close=close", "close"),
        ("local-ack.buffer_bytes=0x40", 64),
        ("local-ack.acknowledged_by=external", "server"),
        ("idle-timeout.refreshed_by=app", "internal"),
        ("idle-timeout.refreshed_by=internal", "internal"),
        ("latency.direction=to-external", "to-server"),
        ("precomplete-handshake.order=app-first", "internal-first"),
        ("reminder.after_s=1.5", 1.5),
        ("reminder.after_s=2", 2.0),
        ("reminder.after_s=1e3", 1000.0),
        ("reminder.loud=true", True),
        ("reminder.loud=false", False),
        ("reminder.words=a=b", "a=b"),
        ("reminder.words=", ""),
        ("reminder.words=12", "12"),
    ],
)
def test_a_value_is_read_as_what_the_setting_wants(text: str, value: object) -> None:
    name, _, key = text.partition("=")[0].strip().partition(".")
    read = set_on("vmware-fusion", text)[name].settings[key]
    assert (read, type(read)) == (value, type(value))


def test_a_changed_setting_is_no_longer_what_was_observed() -> None:
    base, changed = set_on("vmware-fusion")["tos-reset"], set_on("vmware-fusion", "tos-reset.mask=0xfc")["tos-reset"]
    assert changed.status == "assumed"
    assert changed.evidence == (Evidence("--set tos-reset.mask=0xfc", "set on the command line"), *base.evidence)
    assert changed.settings == {**base.settings, "mask": 0xFC}


def test_the_value_it_had_keeps_the_evidence() -> None:
    assert set_on("vmware-fusion", "tos-reset.mask=0xe0") == set_on("vmware-fusion")


def test_a_behaviour_that_is_not_there_is_added_with_its_defaults() -> None:
    quirks = set_on("transparent", "tos-reset.external_close_delay_ms=20")
    assert list(quirks) == [*set_on("transparent"), "tos-reset"]
    assert quirks["tos-reset"].settings == {"mask": 0xE0, "external_close_delay_ms": 20}
    assert quirks["tos-reset"].status == "assumed"
    (evidence,) = quirks["tos-reset"].evidence
    assert evidence.says == "set on the command line"


def test_enabling_adds_and_disabling_removes() -> None:
    assert "link-down-reset" in set_on("transparent", "link-down-reset.enabled=true")
    assert "tos-reset" not in set_on("vmware-fusion", "tos-reset.enabled=false")
    (gone,) = load_profile("vmware-fusion", ["tos-reset.enabled=false"]).absent
    assert (gone.name, gone.status) == ("tos-reset", "assumed")
    assert gone.evidence == (Evidence("--set tos-reset.enabled=false", "set on the command line"),)


def test_removing_what_is_not_there_does_no_harm() -> None:
    assert set_on("transparent", "tos-reset.enabled=false") == set_on("transparent")


def test_the_later_setting_counts() -> None:
    assert set_on("vmware-fusion", "tos-reset.mask=1", "tos-reset.mask=2")["tos-reset"].settings["mask"] == 2
    assert "tos-reset" in set_on("vmware-fusion", "tos-reset.enabled=false", "tos-reset.enabled=true")
    assert "tos-reset" not in set_on("vmware-fusion", "tos-reset.mask=1", "tos-reset.enabled=false")


def test_settings_add_up() -> None:
    settings = ["tos-reset.mask=0xff", "tos-reset.external_close_delay_ms=1"]
    assert set_on("transparent", *settings)["tos-reset"].settings == {"mask": 0xFF, "external_close_delay_ms": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("stack.mss=1400", 1400),
        ("stack.mss=0x578", 1400),
        ("stack.first_retransmit_s=2", 2.0),
        ("stack.ack = second ", "second"),
        ("stack.nagle=true", True),
    ],
)
def test_the_stack_is_set_like_a_behaviour(text: str, value: object) -> None:
    base, profile = load_profile("vmware-fusion"), load_profile("vmware-fusion", [text])
    key = text.partition("=")[0].strip().partition(".")[2]
    read = getattr(profile.stack.build(), key)
    assert (read, type(read)) == (value, type(value))
    assert profile.stack.status == "assumed"
    assert profile.stack.evidence == (Evidence(f"--set {text}", "set on the command line"), *base.stack.evidence)
    assert profile.quirks == base.quirks


def test_of_the_stack_too_the_value_it_had_keeps_the_evidence() -> None:
    same = ["stack.ttl=128", "stack.time_wait_s=30", "stack.nagle=false"]
    assert load_profile("vmware-fusion", same) == load_profile("vmware-fusion")


def test_the_profile_itself_is_as_it_was() -> None:
    before = load_profile("vmware-fusion")
    load_profile("vmware-fusion", ["tos-reset.mask=1", "local-ack.enabled=false"])
    assert load_profile("vmware-fusion") == before


FORM = "the form is BEHAVIOUR.SETTING=VALUE, e.g. tos-reset.mask=0xfc"


@pytest.mark.usefixtures("reminder_installed")
@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "no value", FORM),
        ("tos-reset", "no value", FORM),
        ("tos-reset.mask", "no value", FORM),
        ("tos-reset=1", "no setting", FORM),
        ("tos-rest.mask=1", "unknown behaviour 'tos-rest'", "did you mean tos-reset? there are: "),
        ("title.x=1", "unknown behaviour 'title'", "there are: bandwidth, "),
        ("stak.mss=1400", "unknown behaviour 'stak'", "did you mean stack? there are: "),
        ("mss=1400", "no behaviour", f"did you mean stack.mss=1400? {FORM}"),
        ("stack", "no value", FORM),
        ("stack=1", "no setting", FORM),
        ("stack.ms=1400", "stack has no setting 'ms'", "did you mean mss? its settings: mss, window, "),
        ("stack.enabled=false", "stack has no setting 'enabled'", "did you mean nagle? its settings: mss, "),
        ("stack.mss=47", "47 is not an integer from 48 to 65495", "mss: the largest payload"),
        ("stack.ack=third", "'third' is not 'each' or 'second'", "ack: acknowledge each segment"),
        ("tos-reset.maks=1", "tos-reset has no setting 'maks'", "did you mean mask? its settings: mask, "),
        ("tos-reset.status=observed", "tos-reset has no setting 'status'", "its settings: mask, "),
        ("tos-reset.mask.x=1", "tos-reset has no setting 'mask.x'", "did you mean mask? "),
        ("plain.x=1", "plain has no setting 'x'", "its settings: none"),
        ("tos-reset.mask=", "'' is not an integer from 1 to 255", "mask: bits of the TOS byte"),
        ("tos-reset.mask=e0", "'e0' is not an integer from 1 to 255", "mask: bits of the TOS byte"),
        ("tos-reset.mask=0", "0 is not an integer from 1 to 255", "mask: bits of the TOS byte"),
        ("tos-reset.mask=0x1e0", "480 is not an integer from 1 to 255", "mask: bits of the TOS byte"),
        ("tos-reset.mask=1.0", "'1.0' is not an integer from 1 to 255", "mask: bits of the TOS byte"),
        ("tos-reset.mask=true", "'true' is not an integer from 1 to 255", "mask: bits of the TOS byte"),
        ("close-mapping.half_close=Pass", "'Pass' is not 'pass' or 'close'", "half_close: pass: "),
        ("latency.direction=app", "'app' is not 'both' or 'to-app' or 'to-server'", "direction: which way"),
        ("tos-reset.enabled=no", "'no' is not true or false", "false removes what the profile has"),
        ("reminder.after_s=soon", "'soon' is not a number", "after_s: how long to wait"),
        ("reminder.after_s=nan", "nan is not a number", "after_s: how long to wait"),
        ("reminder.after_s=-inf", "-inf is not a number", "after_s: how long to wait"),
        ("reminder.loud=1", "'1' is not true or false", "loud: whether to shout"),
        ("reminder.loud=True", "'True' is not true or false", "loud: whether to shout"),
        (f"reminder.times=-{2**64:#x}", f"-{2**64:#x} is not an integer of at least 1", "times: how often"),
        ("reminder.times=0", "0 is not an integer of at least 1", "times: how often"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_in_one_line(text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile("vmware-fusion", [text])
    assert str(caught.value) == f"--set {text}: {message}"
    assert caught.value.hint.startswith(hint)
    assert caught.value.exit_code == 2


def test_a_forward_may_have_another_profile_and_keeps_the_relays_stack() -> None:
    relays = load_profile("vmware-fusion", ["stack.mss=1400"])
    own = forward_profile(relays, ["latency.delay_s=2", "profile=slirp"])
    assert (own.name, own.stack) == ("slirp", relays.stack)
    assert {quirk.name for quirk in own.quirks} == {quirk.name for quirk in load_profile("slirp").quirks} | {"latency"}
    assert forward_profile(relays, []) == relays
    with pytest.raises(ConfigError, match="unknown profile 'slrp'"):
        forward_profile(relays, ["profile=slrp"])
