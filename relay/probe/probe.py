"""What a probe is: a name, how long it takes, and what it does in a lab."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from relay.probe.client.lab import Lab
from relay.probe.plan import Plan


@dataclass(frozen=True)
class Probe:
    """One thing that is measured."""

    name: str
    run: Callable[[Lab], Awaitable[None]]
    """Measures, and tells `lab.findings` what it finds as soon as it finds it: what was found before Ctrl-C counts."""
    takes_s: Callable[[Plan], float]
    """About how long, in seconds of the NAT's clock; 0: this plan leaves it out."""
    is_quick: bool = True
    """Whether `--quick` has it."""
    systems: Collection[str] = ()
    """The systems that it runs on (as `sys.platform` has them), where it does not run on all."""
    is_asked_for: bool = False
    """Whether it runs only where its name is given: it may keep others from the NAT."""
