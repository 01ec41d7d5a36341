"""What the benchmark makes of its values: ratios, tables, aims, and how much the next measurement carries."""

from __future__ import annotations

import sys

import pytest

from support.bench_package import import_bench

if sys.platform != "linux":
    pytest.skip("the benchmark reads /proc", allow_module_level=True)
import_bench()
from bench.__main__ import rotated  # noqa: E402
from bench.aims import Aim, aims_table  # noqa: E402
from bench.before import before_table  # noqa: E402
from bench.peers import PEERS  # noqa: E402
from bench.quantities import FULL, Pace, Scale, quantities, within_descriptors  # noqa: E402
from bench.results import Results  # noqa: E402
from bench.table import growth_table, number, quantity_table  # noqa: E402

PING_PONG = next(quantity for quantity in quantities(FULL) if quantity.name == "ping-pong")
ASYNCIO, TRIO = "vmware-fusion, asyncio", "vmware-fusion, trio"


def results(quantity: str, figure: str, **ways: list[float]) -> Results:
    filled = Results()
    for way, values in ways.items():
        for index, value in enumerate(values):
            filled.add(index + 1, quantity, way.replace("asyncio", ASYNCIO).replace("trio", TRIO), {figure: value})
    return filled


def test_each_way_comes_first_in_a_round_of_its_own() -> None:
    rounds = [rotated(PEERS[:3], number) for number in range(4)]
    assert [[PEERS.index(way) for way in ways] for ways in rounds] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]
    assert rotated([], 1) == []


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    slowed = results("bulk-up-1", "gib_per_s", direct=[10.0, 1.0, 8.0], asyncio=[5.0, 0.5, 2.0])
    assert slowed.ratio("bulk-up-1", "gib_per_s", ASYNCIO, "direct") == 0.5


def test_a_ratio_takes_only_rounds_that_both_have_and_never_divides_by_nothing() -> None:
    partly = results("idle-10", "cpu_percent", HAProxy=[0.0, 2.0], asyncio=[3.0, 3.0, 9.0])
    assert partly.ratio("idle-10", "cpu_percent", ASYNCIO, "HAProxy") == 1.5
    assert partly.ratio("idle-10", "cpu_percent", ASYNCIO, "direct") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (12345.6, "12346"), (99.94, "99.9"), (1.0, "1.00"), (0.01234, "0.0123"), (0, "0.00")],
)
def test_a_number_has_three_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_table_has_medians_spread_ratio_and_why_there_is_no_figure() -> None:
    measured = results("ping-pong", "p50_us", HAProxy=[20.0, 30.0, 40.0], asyncio=[60.0])
    measured.failures["ping-pong", "dante"] = "the echo ended"
    assert "\n".join(quantity_table(PING_PONG, ["HAProxy", "dante", "pproxy", ASYNCIO], measured)) == (
        "### ping-pong of 64 bytes\n"
        "\n"
        "| through | p50 us | x HAProxy |\n"
        "| --- | --- | --- |\n"
        "| HAProxy | 30.0 (20.0 to 40.0) | 1.00 |\n"
        "| dante | failed: the echo ended | - |\n"
        f"| {ASYNCIO} | 60.0 | 3.00 |\n"
    )


def test_growth_is_counted_from_no_idle_flows_to_the_most() -> None:
    measured = Results()
    measured.add(1, "socks5-64", "microsocks", {"per_s": 4000})
    measured.add(1, "ping-pong", "microsocks", {"p50_us": 40})
    measured.add(1, "idle-100", "microsocks", {"kib_per_flow": 12, "cpu_percent": 1, "per_s": 3000, "p50_us": 50})
    measured.add(1, "idle-200", "microsocks", {"kib_per_flow": 11, "cpu_percent": 2, "per_s": 2000, "p50_us": 60})
    lines = list(growth_table([100, 200], ["microsocks", "direct"], measured))
    told = ["12.0", "11.0", "1.00", "2.00", "4000", "3000", "2000", "40.0", "50.0", "60.0"]
    assert f"| microsocks | {' | '.join(told)} |" in lines
    assert f"| direct | {' | '.join('-' for _ in told)} |" in lines
    assert lines[2].count("|") == lines[4].count("|")


def _row(measured: Results, title: str, aim: str) -> str:
    (row,) = (line for line in aims_table(10_000, measured) if line.startswith(f"| {title} | {aim} |"))
    return row


def test_an_aim_is_met_where_every_measured_backend_reaches_it() -> None:
    measured = results("ping-pong", "p50_us", HAProxy=[20.0], asyncio=[21.0], trio=[15.0])
    assert _row(measured, "ping-pong p50", "<= 1.05 x HAProxy").endswith("| 1.05 | - | 0.750 | yes |")


def test_an_aim_that_is_missed_names_the_backends_that_fall_short() -> None:
    measured = results("forward-64", "per_s", HAProxy=[1000.0], asyncio=[850.0], trio=[849.0])
    assert _row(measured, "forward connects/s, 64 at a time", ">= 0.85 x HAProxy").endswith("| no: trio |")


def test_an_aim_whose_peer_was_not_measured_is_neither_met_nor_missed() -> None:
    measured = results("socks5-64", "per_s", microsocks=[1000.0], asyncio=[1200.0])
    assert _row(measured, "SOCKS5 connects/s, 64 at a time", ">= 1.2 x microsocks").endswith("| 1.20 | - | - | yes |")
    assert _row(measured, "SOCKS5 connects/s, 64 at a time", ">= 2.5 x dante").endswith("| - | - | - | - |")


def test_an_absolute_aim_needs_no_peer() -> None:
    measured = results("idle-10000", "kib_per_flow", asyncio=[2.0, 3.5, 3.0], trio=[3.1])
    row = _row(measured, "memory at 10000 idle flows", "<= 3 KiB/flow")
    assert row.endswith("| 3.00 | - | 3.10 | no: trio |")


@pytest.mark.parametrize(("value", "at_most", "met"), [(1.0, False, True), (0.99, False, False), (1.01, True, False)])
def test_a_bound_is_met_by_itself(value: float, at_most: bool, met: bool) -> None:
    assert Aim("q", "f", "title", 1.0, at_most=at_most).met_by(value) == met


def test_the_gain_by_a_second_worker_is_shown() -> None:
    measured = results("forward-64", "per_s", asyncio=[1000.0])
    measured.add(1, "forward-64", f"{ASYNCIO}, 2 workers", {"per_s": 1700.0})
    assert "| 1.70 |" in _row(measured, "forward connects/s, 64 at a time, 1 -> 2 workers", "(x 1 worker)")


def test_idle_flows_keep_within_the_descriptors_that_a_proxy_may_have() -> None:
    assert within_descriptors(Scale(idle_flows=(1000, 10_000)), 20_000).idle_flows == [1000, 9800]
    assert within_descriptors(Scale(idle_flows=(1000, 10_000)), 65_536).idle_flows == [1000, 10_000]
    assert within_descriptors(Scale(idle_flows=(1000, 10_000)), 1024).idle_flows == [312]


def test_the_next_measurement_carries_what_lasts_as_long_as_it_should() -> None:
    amounts: list[int] = []

    def run(amount: int) -> dict[str, float]:
        amounts.append(amount)
        return {"took_s": amount / 4000}

    pace = Pace(Scale(each_s=0.5))
    for _ in range(2):
        pace.run("connects", 1, 64, (100, 10_000), run)
    pace.run("connects", 2, 64, (3000, 10_000), run)
    pace.run("connects", 2, 64, (3000, 10_000), run)
    assert amounts == [100, 2000, 3000, 3000]


def test_a_figure_of_which_less_is_better_is_turned_round_beside_the_relay_before() -> None:
    filled = Results()
    for index, (new, old) in enumerate([(90.0, 100.0), (80.0, 100.0), (99.0, 100.0)]):
        filled.add(index + 1, "forward-64", "relay", {"per_s": new, "cpu_us": new})
        filled.add(index + 1, "forward-64", "relay, before", {"per_s": old, "cpu_us": old})
    (quantity,) = (each for each in quantities(FULL) if each.name == "forward-64")
    table = list(before_table([quantity], ["relay", "relay, before"], filled))
    cells = [row.strip("| ").split(" | ")[1:] for row in table if row.startswith("| forward")]
    assert cells == [["connections/s", "0.900"], ["proxy's CPU us/connection", "1.11"]]
