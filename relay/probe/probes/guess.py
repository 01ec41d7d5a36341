"""Which product the NAT may be: notes, and the shipped profile that fits best.

Method: every setting that the other probes have found is held against each shipped profile's. Besides, the host's
firmware, kernel, control groups, name servers, and the hardware address of its gateway are looked at.

Confidence: a hint. Several profiles differ by numbers that a short run does not measure; the more settings were found,
the more it says.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from relay.probe.client.lab import Lab
from relay.probe.compare import compare
from relay.probe.findings import Findings
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.products import TELLING_FILES, Hints, products
from relay.profiles import Profile, available

_LEAST = 2  # settings: one alone fits nearly every profile
_SHOWN = 3
_READ_BYTES = 64 * 1024


class Fit(NamedTuple):
    """How well a profile fits what was found."""

    agreed: int
    of: int
    name: str


def fits(findings: Findings, profiles: Iterable[Profile]) -> list[Fit]:
    """Every profile, those that fit best first; of those that fit alike, in the order in which they come."""
    fitting = []
    for profile in profiles:
        rows = compare(findings, profile)
        fitting.append(Fit(sum(row.agrees for row in rows), len(rows), profile.name))
    return sorted(fitting, key=lambda fit: -fit.agreed)


async def _run(lab: Lab) -> None:
    best = fits(lab.findings, available())
    if best and best[0].of >= _LEAST:
        alike = [fit.name for fit in best if fit.agreed == best[0].agreed]
        names = ", ".join(alike[:_SHOWN]) + (f" and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else "")
        lab.findings.note(f"fits {names} in {best[0].agreed} of {best[0].of} settings")
        lab.findings.fits = alike[0] if len(alike) == 1 else ""
    for product in products(hints_of_host()):
        lab.findings.note(f"this may be {product}")


def hints_of_host() -> Hints:
    """What this host shows; little of it elsewhere than on Linux."""
    resolv_conf = [line.split() for line in _lines("/etc/resolv.conf")]
    return Hints(
        gateway_mac=_gateway_mac(),
        resolvers=tuple(words[1] for words in resolv_conf if words[:1] == ["nameserver"] and len(words) > 1),
        maker=" ".join(line for name in ("sys_vendor", "product_name") for line in _lines(f"/sys/class/dmi/id/{name}")),
        kernel=platform.release(),
        cgroup="\n".join(_lines("/proc/self/cgroup")),
        files=tuple(file for file in TELLING_FILES if Path(file).exists()),
    )


def _gateway_mac() -> str:
    """By the kernel's tables of routes and neighbours."""
    routes = [line.split() for line in _lines("/proc/net/route")[1:]]
    gateway = next((words[2] for words in routes if len(words) > 2 and words[1] == "00000000"), "")
    if len(gateway) != 8:
        return ""
    address = ".".join(str(int(gateway[at : at + 2], 16)) for at in (6, 4, 2, 0))  # the host's order of bytes
    neighbours = [line.split() for line in _lines("/proc/net/arp")[1:]]
    return next((words[3].lower() for words in neighbours if len(words) > 3 and words[0] == address), "")


def _lines(path: str) -> list[str]:
    with suppress(OSError), Path(path).open("rb") as file:
        return file.read(_READ_BYTES).decode("latin-1").splitlines()
    return []


def _takes_s(plan: Plan) -> float:
    return 0.5


PROBE = Probe("guess", _run, _takes_s)
