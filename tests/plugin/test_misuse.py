"""The error for a request that cannot be met: a sentence that names it, a hint, and no lines of ours."""

from __future__ import annotations

import pytest

from plugin.conftest import Suite, outcomes

pytest_plugins = "pytester"

MARKERS = {
    '"vmware-fuson"': ("unknown profile 'vmware-fuson'", "did you mean vmware-fusion, *"),
    '"./none.toml"': ("*none.toml: No such file or directory", "give a shipped profile's name, or the path of a file"),
    "3": ("3 is no profile", "give a profile's name, or the path of a TOML file; *"),
    "tos_rest={'mask': 1}": ("tos_rest={'mask': 1}: unknown behaviour 'tos-rest'", "did you mean tos-reset? *"),
    "tos_reset={'msk': 1}": ("tos_reset={'msk': 1}: tos-reset has no setting 'msk'", "did you mean mask? *"),
    "tos_reset={'mask': 256}": ("tos_reset={'mask': 256}: * is not an integer from 1 to 255", "mask: bits of *"),
    "close_mapping={'half_close': 'no'}": ("close_mapping={'half_close': 'no'}: 'no' is not 'pass' or 'close'", "*"),
    "tos_reset=0xFC": ("tos_reset=252: no mapping of settings", "name them: tos_reset={'SETTING': VALUE}"),
    "stack={'mss': 1400}": ("stack={'mss': 1400}: the stack is for guests, and there are none", "guests come by *"),
    "forwards='0:[::1]:22'": ("forwards='0:[::1]:22': no list", "give a list, also of one: forwards=['0:[::1]:22']"),
    "time_scle=10": ("there is no option 'time_scle'", "did you mean time_scale? the options: allow_open, *"),
    "time_scale=0": ("time_scale: 0 is out of range", "give more than 0 and up to 1000"),
    "time_scale='fast'": ("an option is of the wrong type: *", "given were *time_scale='fast'"),
    "backend='curio'": ("backend: unknown backend 'curio'", "*choose one of asyncio, trio, uvloop"),
    "listen='0.0.0.0:0'": ("listen: listening on 0.0.0.0:0 without authentication*", "add auth='USER:PASS', *"),
}
_TWO = "2 profiles where one is taken; for several runs give a list of them"


@pytest.mark.parametrize("said", MARKERS)
def test_a_wrong_marker_or_argument_is_named_with_what_is_accepted(suite: Suite, said: str) -> None:
    source = f"""
        @pytest.mark.nat_relay({said})
        def test_marked(nat_relay):
            pass

        def test_factory(nat_relay_factory):
            nat_relay_factory({said})
    """
    result = suite(source)
    assert outcomes(result) == {"test_marked": "error", "test_factory": "failed"}
    for section in ("* ERROR at setup of test_marked *", "_* test_factory _*"):
        message, hint = MARKERS[said]
        told = [section, f"nat_relay: {message}", f"hint: {hint}"]
        result.stdout.fnmatch_lines([_literal(line) for line in told], consecutive=True)


def _literal(pattern: str) -> str:
    return pattern.replace("[", "[[]")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('"vmware-fusion", "transparent"', _TWO),
        ('"vmware-fusion", profile="transparent"', _TWO),
        ('["vmware-fusion"], "transparent"', _TWO),
        ("[]", "an empty list of profiles"),
    ],
)
def test_a_marker_that_no_test_can_be_made_of_ends_its_own_test_alone(suite: Suite, said: str, message: str) -> None:
    result = suite(f"""
        @pytest.mark.nat_relay({said})
        def test_marked(nat_relay):
            pass

        def test_another(nat_relay):
            pass
    """)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([f"nat_relay marker of test_it.py::test_marked*: {message}"])
    result.stdout.no_fnmatch_line("During handling of the above exception*")


def test_a_marker_without_the_fixture_is_warned_of(suite: Suite) -> None:
    source = """
        class TestSome:
            pytestmark = pytest.mark.nat_relay("transparent")  # for those of its tests that use the fixture

            def test_unmarked(self):
                pass

        @pytest.mark.nat_relay("transparent")
        def test_forgotten(nat_relay_factory):
            pass

        @pytest.mark.nat_relay("transparent")
        def test_later(request):
            assert request.getfixturevalue("nat_relay").profile.name == "transparent"
    """
    result = suite(source, "-W", "default")
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_forgotten",
            "*PytestWarning: the marker nat_relay has no effect: the test does not use the fixture of that name",
        ]
    )


def test_a_list_of_profiles_for_a_method_of_unittest_is_refused(suite: Suite) -> None:
    result = suite("""
        import unittest

        class TestCase(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def get_nat(self, nat_relay):
                self.nat = nat_relay

            @pytest.mark.nat_relay(["vmware-fusion", "transparent"])
            def test_marked(self):
                pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["hint: *; a list is for the marker of a test function"])


@pytest.mark.parametrize(
    ("argument", "ini", "message"),
    [
        ("--nat-profile=vmware-fuson", "", "ERROR: --nat-profile: unknown profile 'vmware-fuson'"),
        ("--nat-profile=none.toml", "", "ERROR: --nat-profile: *none.toml: No such file or directory"),
        ("--nat-seed=some", "", "*error: argument --nat-seed: invalid int value: 'some'"),
        ("-q", "nat_unsupported = ignore", "ERROR: nat_unsupported: 'ignore' is neither fail nor skip"),
    ],
)
def test_a_wrong_option_ends_the_run_before_it_begins(suite: Suite, argument: str, ini: str, message: str) -> None:
    result = suite("def test_one(nat_relay): pass", argument, ini=ini)
    assert result.ret is pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_wrong_profile_in_the_ini_file_is_an_error_of_the_tests_that_use_it(suite: Suite) -> None:
    source = """
        def test_one(nat_relay):
            pass

        def test_without():
            pass
    """
    result = suite(source, ini="nat_profile = vmware-fuson")
    assert outcomes(result) == {"test_one": "error", "test_without": "passed"}
    result.stdout.fnmatch_lines(["nat_relay: unknown profile 'vmware-fuson'"])


def test_waiting_for_what_never_comes_tells_what_did(suite: Suite) -> None:
    result = suite("""
        from relay import EventType

        def test_never(nat_relay):
            nat_relay.link_down()
            nat_relay.wait_for(EventType.FLOW_ENDED, timeout_s=0.1, flow=3, because="tos-reset")
    """)
    assert outcomes(result) == {"test_never": "failed"}
    result.stdout.fnmatch_lines(
        [
            ">*nat_relay.wait_for(*",
            "E * no flow-ended (because='tos-reset', flow=3) within 0.1 s; what happened:",
            "E * s  relay started with profile vmware-fusion-11",
            "E * s  the link went down",
            "*test_it.py:*: AssertionError",
        ]
    )
    result.stdout.no_fnmatch_line("*records.py*")


@pytest.mark.parametrize(
    ("call", "error", "hint"),
    [
        ('wait_for("flow-end")', "ConfigError: wait_for: there is no event 'flow-end'", "did you mean 'flow-ended'? *"),
        (
            'wait_for("flow-ended", becuase="peer")',
            "ConfigError: wait_for: flow-ended has no field 'becuase'",
            "did you mean 'because'? it has: destination, *",
        ),
        (
            'set(tos_reset={"msk": 1})',
            "ConfigError: tos_reset={'msk': 1}: tos-reset has no setting *",
            "did you mean *",
        ),
        ("set(tos_reset=1)", "ConfigError: tos_reset=1: no mapping of settings", "name them: *"),
    ],
)
def test_a_wrong_call_is_named_at_once_with_what_there_is(suite: Suite, call: str, error: str, hint: str) -> None:
    result = suite(f"""
        def test_one(nat_relay):
            nat_relay.{call}
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([_literal(f"E *{error}"), _literal(f"E * hint: {hint}")], consecutive=True)
    result.stdout.no_fnmatch_line("*records.py*")


def test_a_relay_that_is_used_after_its_test_says_so_and_still_tells_what_happened(suite: Suite) -> None:
    source = """
        from relay import EventType

        kept = []

        def test_first(nat_relay, nat_relay_factory):
            kept.extend([nat_relay, nat_relay_factory()])

        @pytest.mark.parametrize("which", [0, 1])
        @pytest.mark.parametrize("use", {
            "address": lambda nat: nat.address,
            "socks_url": lambda nat: nat.socks_url,
            "env": lambda nat: nat.env,
            "forward": lambda nat: nat.forward("127.0.0.1", 9),
            "resolve": lambda nat: nat.resolve("api.test", 9, "127.0.0.1"),
            "freeze": lambda nat: nat.freeze("external"),
            "link_down": lambda nat: nat.link_down(),
            "set": lambda nat: nat.set(tos_reset={"mask": 1}),
            "time_scale": lambda nat: setattr(nat, "time_scale", 2),
            "advance": lambda nat: nat.advance(1),
        }.values())
        def test_use(use, which):
            with pytest.raises(RuntimeError) as caught:
                use(kept[which])
            assert str(caught.value) == (
                "the relay has stopped: test_it.py::test_first, which it was started for, has ended"
            )

        def test_reading():
            nat = kept[0]
            assert [record.event for record in nat.events] == [EventType.RELAY_STARTED, EventType.RELAY_STOPPED]
            assert nat.wait_for("relay-stopped").fields == {"flows_ended": 0}
            with pytest.raises(AssertionError, match="no flow-ended before the relay stopped; what happened:"):
                nat.wait_for("flow-ended", timeout_s=3600)
    """
    suite(source).assert_outcomes(passed=22)


def test_a_quirk_that_this_host_cannot_show_fails_the_test_with_the_remedy_or_skips_it(suite: Suite) -> None:
    source = """
        @pytest.mark.nat_relay("vmware-fusion", observer="none")
        def test_blind(nat_relay):
            pass

        def test_factory(nat_relay_factory):
            nat_relay_factory(observer="none")

        @pytest.mark.nat_relay("vmware-fusion", observer="none", strict=False)
        def test_told_otherwise(nat_relay):
            pass
    """
    result = suite(source)
    assert outcomes(result) == {"test_blind": "error", "test_factory": "failed", "test_told_otherwise": "passed"}
    told = ["nat_relay: this host cannot show *: no observer is in use", "hint: leave observer='none' out"]
    result.stdout.fnmatch_lines(told, consecutive=True)

    result = suite(source, "-rs", ini="nat_unsupported = skip")
    assert outcomes(result) == {"test_blind": "skipped", "test_factory": "skipped", "test_told_otherwise": "passed"}
    result.stdout.fnmatch_lines(["SKIPPED * nat_relay: this host cannot show *"])


def test_a_proxy_without_a_request_is_reported_with_the_usual_reasons(suite: Suite) -> None:
    result = suite("""
        def test_unused(nat_relay):
            nat_relay.assert_used()
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * nothing was asked of the relay at 127.0.0.1:*; what happened:",
            "E * relay started *",
            "E * Go programs, browsers and many others silently skip a proxy for loopback addresses: *",
        ]
    )
