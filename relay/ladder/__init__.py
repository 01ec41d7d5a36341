"""Ladders: what happened to a flow, drawn between three lines, the app's, the NAT's and the server's; time runs down.

    records --Run--> the flows of each run of a relay: Ladder, a head and steps --> text, SVG, or a page's data

`step` has what a step is, `steps` and `moments` make steps of records, `ladder` has the ladder itself, `runs` sorts
records by run and flow, `text` and `width` draw for a terminal, `svg` for HTML. All of it is pure.
"""

from relay.ladder.ladder import Ladder
from relay.ladder.runs import Run, runs_of
from relay.ladder.step import Kind, Line, Step

__all__ = ["Kind", "Ladder", "Line", "Run", "Step", "runs_of"]
