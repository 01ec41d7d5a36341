"""Ladders of captures: as those of the event log that a capture was rebuilt from, but for what packets do not show."""

from __future__ import annotations

import io
import struct

import pytest

from relay.ladder import Kind, Ladder, Step, runs_of
from relay.ladder.packets import PacketReader
from support.flow_records import Told, plain_flow, rebuilt_capture, reset_flow, two_flows
from support.pcapng import blocks


def ladders(data: bytes) -> list[Ladder]:
    reader = PacketReader(io.BytesIO(data))
    (run,) = runs_of(reader)
    assert (reader.problem_count, reader.record_count) == (0, sum(len(each.records) for each in run.ladders))
    return run.ladders


def arrows(ladder: Ladder) -> list[tuple[object, ...]]:
    return [(step.label, step.start, step.end, step.because) for step in ladder.steps if step.kind is not Kind.END]


def times(steps: list[Step]) -> list[float]:
    return [step.at_s for step in steps if step.at_s is not None]


@pytest.mark.parametrize("flow", [plain_flow, reset_flow], ids=lambda flow: flow.__name__)
def test_a_ladder_of_packets_is_that_of_the_events(flow: object) -> None:
    told = Told()
    assert callable(flow)
    flow(told)
    (of_events,) = runs_of(told.records)[0].ladders
    (of_packets,) = ladders(rebuilt_capture(told.records))
    assert arrows(of_packets) == arrows(of_events)
    assert times(list(of_packets.steps)) == pytest.approx(times(list(of_events.steps)), abs=0.01)
    assert (of_packets.cause, of_packets.by_behaviour, of_packets.carried, of_packets.process) == (
        of_events.cause,
        of_events.by_behaviour,
        of_events.carried,
        of_events.process,
    )


def test_flows_at_the_same_time_are_told_apart() -> None:
    told = Told()
    for flow in (1, 2, 3):
        told(
            1.0 + flow / 1000,
            "flow-opened",
            flow,
            via="forward",
            client=f"127.0.0.1:4000{flow}",
            destination="192.0.2.7:22",
        )
    for flow in (1, 2, 3):
        told(2.0, "flow-connected", flow, address="192.0.2.7:22", local=f"10.0.0.5:5000{flow}", dial_s=0.9)
    for flow in (1, 2, 3):
        told(3.0 + flow, "rst-received", flow, (0, 0), side="internal", unacked_bytes=0)
        told(3.0 + flow, "rst-sent", flow, side="external", because="close-mapping")
    found = ladders(rebuilt_capture(told.records))
    assert [ladder.opened["client"][-1] for ladder in found] == ["1", "2", "3"]
    assert [ladder.cause for ladder in found] == ["internal-peer"] * 3
    assert all(ladder.ended["external"] == "rst" for ladder in found)


def test_a_refused_flow_says_why() -> None:
    told = Told()
    told.open(1.0)
    told(1.1, "dial-failed", failure="refused", detail="ECONNREFUSED")
    (ladder,) = ladders(rebuilt_capture(told.records))
    assert (ladder.cause, ladder.ended["internal"]) == ("destination", "refused")
    assert "not connected: refused (ECONNREFUSED)" in [step.label for step in ladder.steps]


def test_an_inbound_flow_begins_at_the_server() -> None:
    told = Told()
    told.open(1.0, via="inbound", destination="10.0.0.1:80")
    told(1.1, "flow-connected", address="192.168.127.2:80", local="192.168.127.1:5000", dial_s=0.01)
    (ladder,) = ladders(rebuilt_capture(told.records))
    assert [step.start for step in ladder.steps][:3] == [2, 1, 0]
    assert not ladder.ended


def test_probes_are_shown() -> None:
    told = Told()
    told.open(1.0)
    told.connect(1.1)
    told(60.0, "keepalive-probe", side="internal")
    (ladder,) = ladders(rebuilt_capture(told.records))
    assert "keepalive probe" in [step.label for step in ladder.steps]


def test_a_capture_that_begins_within_flows_shows_the_rest_of_them() -> None:
    data = rebuilt_capture(two_flows().records)
    at = data.index(b"\x06\x00\x00\x00")  # the first packet's block
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    found = ladders(data[:at] + data[at + length :])
    assert [ladder.cause for ladder in found] == ["internal-peer", "tos-reset"]


def test_an_acknowledgement_behind_the_end_begins_no_flow() -> None:
    data = rebuilt_capture(two_flows().records)
    acknowledgements = [
        struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
        for kind, body in blocks(data)
        if kind == 6 and body[20 + 33] == 16  # of a TCP header behind one of IPv4
    ]
    found = ladders(data + b"".join(acknowledgements))
    assert [ladder.number for ladder in found] == [1, 2]
    assert [ladder.records[-1].event for ladder in ladders(data)] == ["flow-ended"] * 2
    assert [len(ladder.records) for ladder in found] == [len(ladder.records) for ladder in ladders(data)]


def test_what_a_cut_leaves_is_shown() -> None:
    data = rebuilt_capture(two_flows().records)
    for cut in range(8, len(data), 7):
        reader = PacketReader(io.BytesIO(data[:cut]))
        for run in runs_of(reader):
            assert all(ladder.steps for ladder in run.ladders)
        assert [problem.what for problem in reader.problems] in ([], ["it is cut off, or the file still grows"])


@pytest.mark.parametrize("flipped", range(0, 256, 5))
def test_damage_is_reported_and_raises_nothing(flipped: int) -> None:
    data = bytearray(rebuilt_capture(two_flows().records))
    for at in range(flipped, len(data), 97):
        damaged = bytearray(data)
        damaged[at] ^= flipped | 1
        reader = PacketReader(io.BytesIO(bytes(damaged)))
        for run in runs_of(reader):
            for ladder in run.ladders:
                assert ladder.steps


def test_another_programs_capture_is_not_taken_for_ours() -> None:
    data = rebuilt_capture(two_flows().records).replace(b"guest", b"wlan0")
    reader = PacketReader(io.BytesIO(data))
    assert list(reader) == []
    (problem,) = reader.problems
    assert str(problem).startswith("block ")
    assert "is neither guest nor host: another program wrote it" in problem.what
