"""The profiles that come with the relay: all load, all say why, and each does what its evidence says."""

from __future__ import annotations

import pytest

from captures.trace import read_trace
from relay.abilities import KINDS, Want
from relay.actions import Action, Dial, Grant, Note, SendFin, SendRst, StartTimer
from relay.address import Endpoint
from relay.causes import How
from relay.events import (
    ConnectRequested,
    DialSucceeded,
    Ending,
    FinReceived,
    LinkWentDown,
    ProbeArrived,
    RstReceived,
    Side,
    TimerFired,
    TosChanged,
)
from relay.profiles import STATUSES, Profile, Quirk, available, load_profile, profile_names
from relay.testing.playbook import play

TOS, KEEPALIVE, KEEPALIVE_ANSWER, END_TO_END_ANSWER, PROBE, HANDSHAKE, CLOSE, LOCAL_ACK, END_TO_END_ACK, BLACKHOLE = (
    KINDS[:10]
)

TESTED = (
    "https://github.com/microsoft/WSL/issues/10855",
    "https://github.com/kubernetes/kubernetes/issues/74839",
    "https://github.com/kubernetes/kubernetes/issues/56903",
    "the sockets of docker-proxy, ",
    "https://github.com/moby/moby/issues/37822",
    "https://github.com/cloudfoundry/diego-ssh/issues/24",
    "https://github.com/kubernetes/kubernetes/issues/111825",
)
"""Reports with a bisection or a capture in them."""
MEASURED = "tests/quirks/test_real_nats.py"
VMWARE_ORDER = [
    "precomplete-handshake",
    "close-mapping",
    "local-keepalive",
    "local-ack",
    "tos-reset",
    "link-down-reset",
]
QUIRKS = [
    pytest.param(quirk, id=f"{profile.name}:{quirk.name}")
    for profile in available()
    for quirk in (*profile.quirks, *profile.absent)
]


def quirk_of(profile: Profile, name: str) -> Quirk:
    return next(quirk for quirk in profile.quirks if quirk.name == name)


def test_these_are_shipped() -> None:
    assert [(profile.name, profile.aliases) for profile in available()] == [
        ("aws-ec2-nitro6", ()),
        ("aws-elb", ("aws-alb", "aws-clb", "alb", "elb")),
        ("aws-nat-gateway", ("aws", "aws-nat")),
        ("aws-network-firewall", ()),
        ("aws-nlb", ()),
        ("azure-app-service", ("app-service", "azure-functions")),
        ("azure-load-balancer", ("azure", "azure-lb")),
        ("azure-nat-gateway", ()),
        ("cisco-asa", ("enterprise-firewall", "asa")),
        ("cloudflare-gateway", ()),
        ("docker-desktop", ("vpnkit",)),
        ("docker-published-port", ("docker-proxy",)),
        ("docker-swarm", ("swarm", "ipvs")),
        ("envoy", ("istio",)),
        ("fortigate", ()),
        ("gcp-cloud-nat", ("cloud-nat",)),
        ("gcp-vpc", ("gcp",)),
        ("haproxy", ()),
        ("kubectl-port-forward", ()),
        ("kubernetes", ("k8s", "kube-proxy")),
        ("nginx-stream", ("nginx",)),
        ("palo-alto", ("pan-os",)),
        ("parallels", ("parallels-desktop", "prl-naptd")),
        ("passt", ("pasta",)),
        ("podman-machine", ("gvproxy", "gvisor-tap-vsock", "crc", "lima", "rancher-desktop")),
        ("slirp", ("libslirp", "qemu", "qemu-user", "slirp4netns")),
        ("transparent", ()),
        ("vmware-fusion-11", ("vmware-fusion",)),
        ("vmware-workstation-14", ("vmware-workstation",)),
        ("vmware-workstation-16", ()),
        ("wsl-localhost", ()),
        ("wsl2", ("wsl", "winnat", "hyper-v-default-switch")),
        ("wsl2-mirrored", ()),
    ]
    assert all(profile.title for profile in available())
    assert [profile.name for profile in available() if not profile.era] == ["transparent"]


def test_no_two_profiles_answer_to_one_name() -> None:
    assert len(set(profile_names())) == len(profile_names())


@pytest.mark.parametrize(
    ("alias", "name"),
    [("vmware-fusion", "vmware-fusion-11"), ("vmware-workstation", "vmware-workstation-14")],
)
def test_what_people_type_finds_the_profile(alias: str, name: str) -> None:
    assert load_profile(alias) == load_profile(name)
    assert load_profile(alias).name == name


@pytest.mark.parametrize("quirk", QUIRKS)
def test_every_quirk_says_how_it_is_known(quirk: Quirk) -> None:
    assert quirk.status in STATUSES
    assert quirk.evidence
    assert all(piece.source and piece.says for piece in quirk.evidence)


@pytest.mark.parametrize("quirk", QUIRKS)
def test_what_no_trace_shows_is_not_called_observed(quirk: Quirk) -> None:
    traced = ("r4um, ", "PythonPig, ", MEASURED, "https://lists.freebsd.org/", *TESTED)
    assert quirk.status != "observed" or quirk.evidence[0].source.startswith(traced)


@pytest.mark.parametrize(
    ("name", "quirks", "absent", "withheld"),
    [
        ("transparent", VMWARE_ORDER[:4], [], 0),
        ("vmware-fusion", VMWARE_ORDER, [], 0xE0),
        ("vmware-workstation", VMWARE_ORDER, [], 0xE0),
        ("vmware-workstation-16", [*VMWARE_ORDER[:4], "link-down-reset"], ["tos-reset"], 0),
    ],
)
def test_each_has_its_quirks_in_order(name: str, quirks: list[str], absent: list[str], withheld: int) -> None:
    profile = load_profile(name)
    assert [quirk.name for quirk in profile.quirks] == quirks
    assert [quirk.name for quirk in profile.absent] == absent
    assert profile.tos_mask == withheld


@pytest.mark.parametrize("name", ["vmware-fusion-11", "vmware-workstation-14", "vmware-workstation-16"])
def test_vmwares_settings(name: str) -> None:
    profile = load_profile(name)
    assert quirk_of(profile, "precomplete-handshake").settings == {
        "order": "external-first",
        "failed": "rst",
        "dial_on": "request",
    }
    assert quirk_of(profile, "close-mapping").settings == {
        "internal_rst": "fin",
        "external_rst": "rst",
        "half_close": "pass",
        "timed_out": "rst",
        "silence_s": 900,
    }
    assert quirk_of(profile, "local-keepalive").settings["answered_by"] == "nat"
    assert quirk_of(profile, "local-keepalive").settings["external_interval_s"] == 0
    assert quirk_of(profile, "local-ack").settings["acknowledged_by"] == "nat"


def test_the_control_groups_settings() -> None:
    profile = load_profile("transparent")
    assert quirk_of(profile, "precomplete-handshake").settings == {
        "order": "lockstep",
        "failed": "rst",
        "dial_on": "request",
    }
    closing = quirk_of(profile, "close-mapping").settings
    assert [closing[key] for key in ("internal_rst", "external_rst", "half_close", "timed_out")] == [
        "rst",
        "rst",
        "pass",
        "silence",
    ]
    assert quirk_of(profile, "local-keepalive").settings["answered_by"] == "server"
    assert quirk_of(profile, "local-ack").settings["acknowledged_by"] == "server"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("transparent", [HANDSHAKE, CLOSE, KEEPALIVE, END_TO_END_ANSWER, PROBE, BLACKHOLE, END_TO_END_ACK]),
        ("vmware-fusion", [HANDSHAKE, CLOSE, KEEPALIVE_ANSWER, LOCAL_ACK, TOS]),
        ("vmware-workstation-16", [HANDSHAKE, CLOSE, KEEPALIVE_ANSWER, LOCAL_ACK]),
    ],
)
def test_what_a_host_must_be_able_to_do_follows_from_the_profile(name: str, wanted: list[Want]) -> None:
    assert {want.kind for want in load_profile(name).wants} == set(wanted)


def test_each_flow_gets_behaviours_of_its_own() -> None:
    profile = load_profile("vmware-fusion")
    one, two = profile.behaviours(), profile.behaviours()
    assert one == two
    assert not {id(behaviour) for behaviour in one} & {id(behaviour) for behaviour in two}
    assert [behaviour.name for behaviour in one] == VMWARE_ORDER


def test_fusions_profile_plays_the_capture_again() -> None:
    """Every event at its time in the captures; every step is one that the captures show."""
    guest, host = read_trace("fusion_guest"), read_trace("fusion_host")
    marked, fin = guest[35], host[33]
    skew_s = guest[34].at_s - host[31].at_s  # the same 44 bytes, at the host and in the guest
    delay_s = round(fin.at_s - host[31].at_s, 3)
    flow = play(
        load_profile("vmware-fusion"),
        (ConnectRequested(guest[1].at_s, Endpoint("192.30.253.113", 22), Side.INTERNAL), [Dial()]),
        (DialSucceeded(host[2].at_s + skew_s), [Grant()]),
        (
            TosChanged(marked.at_s, Side.INTERNAL, syn=0, old=guest[32].tos or 0, new=marked.tos),
            [SendRst(Side.INTERNAL), StartTimer("external-close", delay_s)],
        ),
        (TimerFired(fin.at_s + skew_s, "external-close"), [SendFin(Side.EXTERNAL)]),
        (FinReceived(host[34].at_s + skew_s, Side.EXTERNAL), []),
    )
    assert flow.over
    assert flow.cause == "tos-reset"
    assert flow.endings == {
        Side.INTERNAL: Ending(Side.INTERNAL, How.RST, "tos-reset"),
        Side.EXTERNAL: Ending(Side.EXTERNAL, How.FIN, "tos-reset"),
    }


@pytest.mark.parametrize(
    ("profile", "server_gets"),
    [
        ("vmware-fusion", SendFin(Side.EXTERNAL)),
        ("vmware-workstation", SendFin(Side.EXTERNAL)),
        ("transparent", SendRst(Side.EXTERNAL, after_data=True)),
    ],
)
def test_what_an_apps_reset_is_to_the_server(profile: str, server_gets: Action) -> None:
    play(
        load_profile(profile),
        (ConnectRequested(0.0, Endpoint("192.0.2.1", 22), Side.INTERNAL), [Dial()]),
        (DialSucceeded(0.2), [Grant()]),
        (RstReceived(1.0, Side.INTERNAL), [server_gets]),
    )


@pytest.mark.parametrize("profile", ["transparent", "vmware-workstation-16"])
def test_marked_segments_pass_where_nothing_checks_them(profile: str) -> None:
    play(load_profile(profile), (TosChanged(1.0, Side.INTERNAL, syn=0, old=0, new=0x48), []))


def test_workstations_answer_to_a_probe_is_its_own() -> None:
    play(
        load_profile("vmware-workstation"),
        (ConnectRequested(0.0, Endpoint("192.168.11.2", 57212), Side.INTERNAL), [Dial()]),
        (DialSucceeded(0.2), [Grant()]),
        (ProbeArrived(5.2, Side.INTERNAL), [Note("keepalive probe answered by the NAT, not the server")]),
    )


def test_vmware_forgets_its_flows_when_the_link_blinks_and_a_kernel_nat_does_not() -> None:
    for profile, resets in (
        ("vmware-workstation-16", [(SendRst(Side.INTERNAL), "link-down-reset")]),
        ("transparent", []),
    ):
        play(load_profile(profile), (LinkWentDown(1.0), resets))
