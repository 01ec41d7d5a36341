"""Every probe that nmap's database answers for VMware's NAT, without a connection, and what RFC 9293 says to them."""

from __future__ import annotations

import pytest

from relay.profiles import load_profile
from relay.stack import Stack
from relay.wire import stray
from relay.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment

VMNAT = load_profile("vmware-fusion").stack.build()
CONTROL = Stack()


@pytest.mark.parametrize(
    ("probe", "vmnat", "control"),
    [
        pytest.param(Segment(9, 0), None, None, id="T2-no-flags"),
        pytest.param(
            Segment(9, 4, ACK, 1024),
            Segment(4, 0, RST, 32767),
            Segment(4, 0, RST, 0),
            id="T4-T6-stray-ACK",
        ),
        pytest.param(
            Segment(9, 4, SYN, 31337),
            Segment(0, 10, RST | ACK, 32767),
            Segment(0, 10, RST | ACK, 0),
            id="T5-SYN-to-a-closed-port",
        ),
        pytest.param(
            Segment(9, 4, FIN | PSH | URG, 65535),
            Segment(0, 9, RST | ACK, 32767),
            Segment(0, 10, RST | ACK, 0),
            id="T7-FIN-PSH-URG-to-a-closed-port",
        ),
        pytest.param(Segment(9, 0, FIN), Segment(0, 9, RST | ACK, 32767), Segment(0, 10, RST | ACK, 0), id="FIN-scan"),
        pytest.param(
            Segment(9, 0, SYN | FIN | PSH | URG),
            Segment(0, 10, RST | ACK, 32767),
            Segment(0, 11, RST | ACK, 0),
            id="SYN-FIN-PSH-URG-refused",
        ),
        pytest.param(Segment(9, 4, SYN | ACK), Segment(4, 0, RST, 32767), Segment(4, 0, RST, 0), id="SYN-ACK"),
        pytest.param(Segment(9, 4, FIN | ACK), Segment(4, 0, RST, 32767), Segment(4, 0, RST, 0), id="FIN-ACK"),
        pytest.param(Segment(9, 4, ACK | PSH, 0, b"data"), Segment(4, 0, RST, 32767), Segment(4, 0, RST, 0), id="data"),
        pytest.param(
            Segment(9, 0, PSH, 0, b"data"), Segment(0, 13, RST | ACK, 32767), Segment(0, 13, RST | ACK, 0), id="no-ACK"
        ),
        pytest.param(
            Segment(0xFFFF_FFFF, 0, SYN, 0, b"data"),
            Segment(0, 4, RST | ACK, 32767),
            Segment(0, 4, RST | ACK, 0),
            id="SYN-with-data-where-the-sequence-wraps",
        ),
        pytest.param(Segment(9, 4, RST), None, None, id="RST"),
        pytest.param(Segment(9, 4, RST | ACK), None, None, id="RST-ACK"),
        pytest.param(Segment(9, 4, RST | SYN), None, None, id="RST-SYN"),
    ],
)
def test_the_answer_to_a_segment_without_a_connection(
    probe: Segment, vmnat: Segment | None, control: Segment | None
) -> None:
    assert stray.answer(probe, VMNAT) == vmnat
    assert stray.answer(probe, CONTROL) == control


@pytest.mark.parametrize(
    ("flags", "dials", "drops_syn_fin"),
    [
        pytest.param(SYN, True, True, id="T1-SYN"),
        pytest.param(SYN | ECE | CWR, True, True, id="ECN"),
        pytest.param(SYN | FIN | PSH | URG, True, False, id="T3-SYN-FIN-PSH-URG"),
        pytest.param(SYN | ACK, False, False, id="SYN-ACK"),
        pytest.param(SYN | RST, False, False, id="SYN-RST"),
        pytest.param(0, False, False, id="T2-no-flags"),
        pytest.param(FIN, False, False, id="FIN"),
        pytest.param(ACK, False, False, id="ACK"),
    ],
)
def test_which_segments_dial(flags: int, dials: bool, drops_syn_fin: bool) -> None:
    assert stray.opens(Segment(1, 0, flags), VMNAT) is dials
    assert stray.opens(Segment(1, 0, flags), Stack.of({"syn_fin_dials": False})) is drops_syn_fin


def test_a_syn_with_fin_that_does_not_dial_is_dropped() -> None:
    assert stray.answer(Segment(9, 0, SYN | FIN), Stack.of({"syn_fin_dials": False})) is None
