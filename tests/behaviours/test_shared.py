"""A behaviour that keeps nothing is made once for all flows; any other once for each."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from relay.actions import Note
from relay.behaviours import Actions, Behaviour, Lineup
from relay.driver.chance import Chance
from relay.driver.flow_log import FlowLog
from relay.events import LinkWentDown
from relay.log import EventLog
from relay.machine import FlowMachine

DOWN = LinkWentDown(0.0)


@dataclass(frozen=True)
class Forgetful(Behaviour):
    """Keeps nothing."""

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        yield Note("down")


@dataclass
class Counting(Behaviour):
    """Remembers its flow's events."""

    seen: list[str] = field(default_factory=list)

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        self.seen.append("down")
        yield Note(f"down {len(self.seen)}")


@dataclass(frozen=True)
class Gambling(Behaviour):
    """Keeps its flow's source of chance."""

    draws = True

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        yield Note(f"down {self.chance()}")


@pytest.mark.parametrize(("kind", "made"), [(Forgetful, 1), (Counting, 2), (Gambling, 2)])
def test_how_often_two_flows_make_a_behaviour(kind: type[Behaviour], made: int) -> None:
    instances: list[Behaviour] = []

    def make() -> Behaviour:
        instances.append(kind())
        return instances[-1]

    lineup, log = Lineup([kind], [make]), EventLog()
    for number in range(2):
        chance = Chance(FlowLog(log, number, 0.0), 0, number)
        machine = FlowMachine(lineup, prepare=chance.give_to)
        assert [step.because for step in machine.handle(DOWN)] == [kind.name]
    assert len(instances) == made


def test_what_one_flow_remembers_is_unknown_to_the_next() -> None:
    lineup = Lineup([Counting], [Counting])
    for _ in range(2):
        machine = FlowMachine(lineup)
        assert [step.action for step in machine.handle(DOWN)] == [Note("down 1")]
        assert [step.action for step in machine.handle(DOWN)] == [Note("down 2")]
