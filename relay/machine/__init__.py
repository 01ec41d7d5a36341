"""One flow, as a machine: events in, actions out.

FlowMachine   asks the flow's behaviours about each event, and drops what is impossible from their answers
FlowSides     which connections there are, how far each has ended, and so what is possible
merged        what stays of answers that disagree
"""

from relay.machine.machine import FlowMachine
from relay.machine.step import Step

__all__ = ["FlowMachine", "Step"]
