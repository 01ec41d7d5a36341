"""What this host can do about the quirks of a profile."""

from __future__ import annotations

from relay.fidelity import QuirkFidelity, assess
from relay.frontends.listening import ForwardFrontEnd, ProxyFrontEnd
from relay.observe import Fidelity, survey
from relay.profiles import load_profile


def of(name: str, assessed: list[QuirkFidelity]) -> QuirkFidelity:
    return next(each for each in assessed if each.quirk.name == name)


def test_a_forwards_handshake_is_labelled_approximate_and_nothing_else_of_it() -> None:
    profile = load_profile("vmware-fusion")
    proxied, forwarded = assess(profile, survey()), assess(profile, survey(), [ForwardFrontEnd.support])
    assert of("precomplete-handshake", proxied).support.fidelity is Fidelity.EXACT
    shown = of("precomplete-handshake", forwarded).support
    assert (shown.fidelity, shown.provider) == (Fidelity.APPROXIMATE, "kernel sockets")
    assert shown.remedy == "connect through SOCKS or HTTP CONNECT"
    differing = [now.quirk.name for before, now in zip(proxied, forwarded, strict=True) if before != now]
    assert differing == ["precomplete-handshake"]


def test_a_failed_dials_answer_by_a_forward_is_labelled_if_it_is_another_than_the_dials_own() -> None:
    for settings, shown in (
        (["refusal-mapping.refused=silence"], Fidelity.APPROXIMATE),
        (["refusal-mapping.silence_s=5"], Fidelity.EXACT),
    ):
        assessed = assess(load_profile("transparent", settings), survey(), [ForwardFrontEnd.support])
        assert of("refusal-mapping", assessed).support.fidelity is shown


def test_of_several_ways_in_the_worst_one_counts() -> None:
    profile = load_profile("vmware-fusion")
    both = assess(profile, survey(), [ProxyFrontEnd.support, ForwardFrontEnd.support])
    assert of("precomplete-handshake", both).support.fidelity is Fidelity.APPROXIMATE
    assert both == assess(profile, survey(), [ForwardFrontEnd.support, ProxyFrontEnd.support])
