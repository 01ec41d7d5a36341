"""Whether the SYN arrives as it was sent: notes, for a NAT of one's own (`[stack]`) and for the way.

Method: the client's kernel shows what its SYNs are like, by one to itself; the server's kernel keeps the SYN of one
that crossed the NAT. Compared are SACK, timestamps, the window scale, ECN and the order of options. MSS, window and TTL
are noted as they arrived, for they differ with the way.

Confidence: sure, where both ends run on Linux, which alone keeps a SYN for a program without privilege.
"""

from __future__ import annotations

import socket
from contextlib import closing

from relay.observe.kernel.syn import save_syn, saved_syn
from relay.probe.client.lab import Lab, Trial
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import REPORT
from relay.probe.protocol.syn import SYN_KEYS, changes, read_syn, syn_in_words

_WITHIN_S = 2.0


async def _run(lab: Lab) -> None:
    sent = own_syn()
    trial = await lab.open(REPORT)
    if not isinstance(trial, Trial):
        return
    await trial.hear_out()
    report = await trial.their_report()
    state: dict[str, int] = next((seen.value for seen in report.all("state")), {})
    arrived = {key: state[key] for key in SYN_KEYS if key in state}
    if not arrived:
        lab.findings.note("SYN: not seen as it arrives: the server has to run on Linux")
        return
    lab.findings.note(f"the SYN arrives with {syn_in_words(arrived)}")
    if not sent:
        return
    changed = changes(sent, arrived)
    if changed:
        lab.findings.note(f"the SYN does not arrive as it was sent: {'; '.join(changed)}")
    else:
        lab.findings.note("the SYN's options arrive as they were sent")


def own_syn() -> dict[str, int]:
    """What this host's kernel sends, by a connection to itself; nothing where it does not show its SYNs."""
    with closing(socket.socket()) as listener, closing(socket.socket()) as client:
        if not save_syn(listener):
            return {}
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.settimeout(_WITHIN_S)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with closing(accepted):
            return read_syn(saved_syn(accepted))


def _takes_s(plan: Plan) -> float:
    return 0.5


PROBE = Probe("syn", _run, _takes_s, systems=("linux",))
