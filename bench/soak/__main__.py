"""`python -m bench.soak`: run a soak, print what came of it; exit 1 if anything did that must not."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from bench.soak.plans import FRONT_ENDS, Story
from bench.soak.run import Order, Report, soak
from relay.backend import BACKENDS, choose_backend
from relay.errors import RelayError
from relay.profiles import load_profile


def _order() -> Order:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long it takes in all (default: 600)")
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    parser.add_argument("--profile", default="vmware-fusion")
    parser.add_argument("--seed", type=int, help="what all flows follow from (default: one is picked)")
    parser.add_argument("--slots", type=int, default=16, help="how many flows at once (default: 16)")
    parser.add_argument("--only", type=int, metavar="FLOW", help="play this flow of the seed's again and again")
    given = parser.parse_args()
    if given.seconds <= 0:
        parser.error(f"--seconds: {given.seconds:g} is no time")
    try:
        choose_backend(given.backend, where="--backend")
        load_profile(given.profile)
    except RelayError as wrong:
        parser.error(str(wrong))
    given.seed = given.seed if given.seed is not None else secrets.randbits(32)
    return Order(**vars(given))


def _print(order: Order, report: Report) -> None:
    print(f"seed {order.seed}, {order.backend}, {order.profile}, {order.seconds:g} s, {order.slots} flows at once\n")
    print(f"| story | {' | '.join(FRONT_ENDS)} | all |\n|{' --- |' * (len(FRONT_ENDS) + 2)}")
    for story in Story:
        counts = [report.flows[story.value, front_end] for front_end in FRONT_ENDS]
        print(f"| {story} | {' | '.join(map(str, counts))} | {sum(counts)} |")
    print(
        f"\n{report.flows.total()} flows, {report.carried_bytes / 2**20:.1f} MiB arrived and checked, "
        f"{report.freezes} freezes, {report.changes} changes of settings, {report.events['rst-sent']} RSTs sent\n"
    )
    print(f"| at, s | flows | tasks | descriptors | pipes | held | blocks | memory, KiB |\n|{' --- |' * 8}")
    began_s = report.before.at_s if report.before is not None else 0.0
    for now in [report.before, *report.lulls]:
        if now is not None:
            kept = f"{now.flows} | {now.tasks} | {now.descriptors_in_use} | {now.pipes} | {now.held} | {now.blocks}"
            print(f"| {now.at_s - began_s:.1f} | {kept} | {now.memory_bytes >> 10} |")


def main() -> int:
    """Run and print."""
    order = _order()
    report = asyncio.run(soak(order))
    _print(order, report)
    for failure in report.failures:
        print(f"\nFAILED: {failure}")
    if report.failures:
        print(f"\n{len(report.failures)} failures; repeat with --seed {order.seed}, or one flow of it with --only FLOW")
    else:
        print("\nnothing failed")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
