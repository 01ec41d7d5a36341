"""Connections that die together, and the products that a host points to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from relay.cli.probe import NAMES
from relay.probe import PROBES, Findings, run_probes
from relay.probe.findings import Finding
from relay.probe.probes.guess import fits, hints_of_host
from relay.probe.probes.watch import death_of_all, regularity
from relay.probe.products import Hints, products
from relay.profiles import available
from support.probing import JumpingClock, found_through, probed


def test_most_that_die_within_a_moment_die_together() -> None:
    assert death_of_all([600, 600.5, 601, 601, 601.5, 602, 90], 2) == 600
    assert death_of_all([600, 600.5, 601, 601, 601.5], 2) is None
    assert death_of_all([100 + 12 * index for index in range(8)], 6) is None
    assert death_of_all([], 6) is None


def test_moments_that_are_evenly_apart_have_an_interval() -> None:
    assert regularity([600, 1200, 1800]) == (600, 0)
    regular = regularity([600, 1210, 1800, 2405])
    assert regular is not None
    assert list(regular) == pytest.approx([601.67, 11.67], abs=0.01)
    assert regularity([600, 1200]) is None
    assert regularity([600, 1200, 2400]) is None


@pytest.mark.system  # 2 s
@pytest.mark.anyio
async def test_what_ends_all_connections_now_and_then_comes_back() -> None:
    found = await found_through(
        "wsl2", "proxy", ["watch"], plan={"watch_s": 600}, link_down_reset={"every_s": 140, "external": "fin"}
    )
    assert found.value("link-down-reset", "every_s") == pytest.approx(140, rel=0.03)
    assert found.value("link-down-reset", "internal") == "rst"
    assert found.value("link-down-reset", "external") == "fin"
    found = await found_through(
        "transparent", "proxy", ["watch"], plan={"watch_s": 300}, lifetime_limit={"after_s": 120}
    )
    assert found.value("link-down-reset", "internal") is None
    assert [note.partition(": ")[0] for note in found.notes] == ["link-down-reset", "server"]
    assert "did not die together in 300" in found.notes[0]


@pytest.mark.anyio
async def test_a_link_that_goes_down_once_is_seen_by_what_each_end_gets() -> None:
    clock, findings = JumpingClock(), Findings()
    async with (
        probed("vmware-fusion-11", "proxy", clock=clock) as (_, nat, course),
        anyio.create_task_group() as tasks,
    ):

        async def go_down() -> None:
            await clock.sleep(120)
            nat.link_down()

        tasks.start_soon(clock.run, nat)
        tasks.start_soon(go_down)
        watched = replace(course, plan=replace(course.plan, watch_s=200))
        await run_probes(watched, [probe for probe in PROBES if probe.name == "watch"], findings, clock=clock)
        tasks.cancel_scope.cancel()
    assert {setting: each.value for (_, setting), each in findings.by_setting.items()} == {
        "internal": "rst",
        "external": "rst",
    }
    assert findings.notes[0].startswith("all connections died together, 1 time in 200 s: ")


def test_the_profile_that_fits_best_is_first() -> None:
    found = Findings()
    for behaviour, setting, value in (
        ("idle-timeout", "after_s", 301.0),
        ("idle-timeout", "internal", "fin"),
        ("idle-timeout", "external", "fin"),
        ("close-mapping", "half_close", "pass"),
        ("idle-timeout", "refreshed_by", "internal"),
    ):
        found.found(Finding(behaviour, setting, value, ""))
    best = fits(found, available())[0]
    assert (best.name, best.agreed, best.of) == ("docker-desktop", 5, 5)


def test_every_profile_fits_what_it_says_itself() -> None:
    profiles = available()
    for profile in profiles:
        found = Findings()
        for quirk in profile.quirks:
            for setting, value in quirk.settings.items():
                found.found(Finding(quirk.name, setting, value, ""))
        best = fits(found, profiles)
        own = next(fit for fit in best if fit.name == profile.name)
        assert own.agreed == own.of == best[0].agreed, profile.name


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        (Hints(), []),
        (
            Hints(gateway_mac="00:50:56:f0:00:01", maker="VMware, Inc. VMware7,1"),
            ["VMware (hardware address of the gateway, maker of the machine)"],
        ),
        (
            Hints(kernel="6.6.87.2-microsoft-standard-WSL2", resolvers=("10.255.255.254",)),
            ["WSL (name server)", "WSL 2 (kernel)"],
        ),
        (Hints(resolvers=("127.0.0.11",), files=("/.dockerenv",), cgroup="0::/"), ["Docker (name server, file)"]),
        (Hints(maker="Microsoft Corporation Virtual Machine"), ["Hyper-V or Azure (maker of the machine)"]),
        (Hints(gateway_mac="52:54:00:12:35:02"), ["VirtualBox (hardware address of the gateway)"]),
    ],
)
def test_what_a_host_shows_points_to_products(hints: Hints, expected: list[str]) -> None:
    assert products(hints) == expected


def test_a_hosts_hints_are_read_from_its_own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/etc/resolv.conf": "# here\nnameserver 10.0.2.3\noptions x\n",
        "/proc/net/route": "Iface Destination Gateway\neth0 00000000 0202000A 0003\n",
        "/proc/net/arp": "IP type flags address\n10.0.2.2 0x1 0x2 52:55:0A:00:02:02 * eth0\n",
        "/sys/class/dmi/id/sys_vendor": "QEMU\n",
    }
    monkeypatch.setattr("relay.probe.probes.guess._lines", lambda path: files.get(path, "").splitlines())
    hints = hints_of_host()
    assert (hints.gateway_mac, hints.resolvers, hints.maker) == ("52:55:0a:00:02:02", ("10.0.2.3",), "QEMU")
    assert all(Path(file).exists() for file in hints.files)


@pytest.mark.anyio
async def test_the_guess_names_what_fits() -> None:
    found = await found_through("nginx-stream", "proxy", ["close", "tos", "guess"])
    (note,) = (note for note in found.notes if note.startswith("fits "))
    assert "nginx-stream" in note


def test_the_command_line_names_every_probe() -> None:
    assert tuple(probe.name for probe in PROBES) == NAMES
