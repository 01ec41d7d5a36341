"""`local-keepalive`: who answers the app's probes, and who probes the server."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from relay.abilities import Ability, Want
from relay.actions import Action, AnswerProbe, Note, Probe, SetKeepalive
from relay.behaviours.local_keepalive import LocalKeepalive
from relay.events import ProbeAnswered, ProbeArrived, Side
from relay.testing.playbook import connected, play

CAPTURE = tomllib.loads(
    (Path(__file__).parents[1] / "captures" / "workstation_keepalive.toml").read_text(encoding="utf-8")
)


def probes_of_the_client() -> list[ProbeArrived]:
    """The first probes that the client of the September 2017 article sends, by its own settings."""
    client = CAPTURE["client"]
    return [ProbeArrived(client["idle_s"] + n * client["interval_s"], Side.INTERNAL) for n in range(3)]


NOTED = Note("keepalive probe answered by the NAT, not the server")
SEEN = Note(
    "keepalive probe answered by the relay's kernel, in place of the server; the relay probes the server itself, "
    "and does not know yet whether it answers"
)


def test_no_probe_reaches_the_server_of_the_capture() -> None:
    """Neither because the client probes, nor of the NAT's own accord: each probe is noted, and nothing else is done."""
    assert CAPTURE["probes"]["arrived_at_server"] == 0
    play(connected(LocalKeepalive()), *((probe, [NOTED]) for probe in probes_of_the_client()))


def test_a_probe_that_was_not_answered_yet_goes_on_to_the_server_and_its_answer_comes_back() -> None:
    """Each of them: the app counts those that stay without an answer, the relay does not."""
    first, second, third = probes_of_the_client()
    play(
        connected(LocalKeepalive(answered_by="server", server_probes=3)),
        (ProbeArrived(first.at_s, Side.INTERNAL, answered=False), [Probe(Side.EXTERNAL, 3)]),
        (ProbeAnswered(first.at_s + 0.2, Side.EXTERNAL), [AnswerProbe(Side.INTERNAL)]),
        (ProbeArrived(second.at_s, Side.INTERNAL, answered=False), [Probe(Side.EXTERNAL, 3)]),
        (ProbeArrived(third.at_s, Side.INTERNAL, answered=False), [Probe(Side.EXTERNAL, 3)]),
        (ProbeAnswered(third.at_s, Side.INTERNAL), []),
    )


def test_a_probe_makes_us_probe_the_server_once_when_the_server_is_to_answer() -> None:
    asked = SetKeepalive(Side.EXTERNAL, idle_s=1, interval_s=1, count=2)
    first, *later = probes_of_the_client()
    play(
        connected(LocalKeepalive(answered_by="server")),
        (first, [SEEN, asked]),
        *((probe, [SEEN]) for probe in later),
    )


def test_each_flow_asks_for_itself() -> None:
    steps = [SEEN, SetKeepalive(Side.EXTERNAL, idle_s=1, interval_s=1, count=2)]
    for _ in range(2):
        play(connected(LocalKeepalive(answered_by="server")), (ProbeArrived(1.0, Side.INTERNAL), steps))


def test_how_many_probes_find_a_server_dead_is_a_setting() -> None:
    asked = SetKeepalive(Side.EXTERNAL, idle_s=1, interval_s=1, count=7)
    behaviour = LocalKeepalive(answered_by="server", server_probes=7)
    play(connected(behaviour), (ProbeArrived(1.0, Side.INTERNAL), [SEEN, asked]))


@pytest.mark.parametrize("answered_by", ["nat", "server"])
def test_the_servers_own_probes_are_left_to_the_kernel(answered_by: str) -> None:
    play(connected(LocalKeepalive(answered_by=answered_by)), (ProbeArrived(1.0, Side.EXTERNAL), []))


@pytest.mark.parametrize(
    ("interval_s", "actions"),
    [(0, []), (75, [SetKeepalive(Side.EXTERNAL, idle_s=75, interval_s=75, count=9)])],
    ids=["vmware: none", "parallels: every 75 s"],
)
def test_the_nats_own_probes_to_the_server_are_a_setting(interval_s: int, actions: list[Action]) -> None:
    connected(LocalKeepalive(external_interval_s=interval_s), steps=actions)


@pytest.mark.parametrize(
    ("answered_by", "needs"),
    [
        ("nat", {Want(Ability.KEEPALIVE_ANSWER, by="nat")}),
        (
            "server",
            {
                Want(Ability.KEEPALIVE),
                Want(Ability.KEEPALIVE_ANSWER, by="server"),
                Want(Ability.PROBE, external=True),
                Want(Ability.BLACKHOLE),
            },
        ),
    ],
)
def test_leaving_probes_unanswered_needs_a_host_that_can_be_deaf(answered_by: str, needs: set[Want]) -> None:
    assert set(LocalKeepalive(answered_by=answered_by).wants()) == needs
