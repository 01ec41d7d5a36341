"""What figures depend on beside the code: the machine, the day, and the versions of all that was measured."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as python_package
from pathlib import Path

_OUR_PACKAGES = ("anyio", "trio", "uvloop")


def describe_host(packages: Iterable[str], module: str = "bench") -> dict[str, str]:
    """By name, for the head of a report; `packages` are the peers', Debian's or PyPI's, `module` is what is run."""
    found = {package: _version(package) for package in (*_OUR_PACKAGES, *packages)}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "CPU": f"{os.cpu_count()} x {_cpu()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "congestion control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "versions": ", ".join(f"{package} {version}" for package, version in found.items() if version),
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return python_package(package)
    except PackageNotFoundError:
        pass
    try:
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return asked.stdout.strip() or None
