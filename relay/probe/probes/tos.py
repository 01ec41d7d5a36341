"""Whether a segment whose TOS byte differs from its SYN's is reset: `tos-reset`.

Method: connect, exchange a byte, set the TOS byte, send another: a reset, or an echo. Bytes with a single bit set give
the mask bit by bit; others check that one mask explains all. A connection that has the byte from its SYN on must live.
The server notes the SYN's byte as it arrived, and when its own end comes.

Confidence: sure on Linux and macOS. Windows marks nothing that a program asks for, without an error: there it is not
measured. The two bits of ECN are the kernel's, and are left out. The far end's delay is as exact as the round trip.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from relay.probe.client.dial import set_tos
from relay.probe.client.lab import Lab, Trial
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import REPORT, Read, Send

_QUIRK = "tos-reset"
_SINGLE = (0x80, 0x40, 0x20, 0x10, 0x08, 0x04)
_MIXED = (0x48, 0xB8)
_CLOSED_WITHIN_S = 3.0  # of the NAT's clock: how long the far end may take to close
_MOST_DELAY_MS = 60_000


async def _run(lab: Lab) -> None:
    if sys.platform == "win32":
        lab.findings.note("TOS byte: cannot be set by a program on Windows")
        return
    fates: dict[int, list[bool]] = {}
    delays_ms: list[float] = []
    for value in (0, *_SINGLE, *_MIXED):
        for _ in range(lab.plan.rounds):
            reset = await _is_reset(lab, 0, value, delays_ms)
            if reset is not None:
                fates.setdefault(value, []).append(reset)
    if not fates or any(fates.get(0, [])):
        lab.findings.note("TOS byte: not measured: connections end even where it stays the same")
        return
    if any(len(set(each)) > 1 for each in fates.values()):
        says = "the same change of TOS byte is reset or not, by chance"
        lab.findings.found(Finding(_QUIRK, "mask", None, says, 0, lab.plan.rounds))
        return
    await _tell(lab, {value: each[0] for value, each in fates.items()}, delays_ms)


async def _tell(lab: Lab, fates: Mapping[int, bool], delays_ms: list[float]) -> None:
    mask = mask_of(fates)
    of = min(lab.plan.rounds, *(lab.plan.rounds for _ in fates))
    if mask is None:
        reset = ", ".join(f"0x{value:02x}" for value, fate in fates.items() if fate)
        lab.findings.found(Finding(_QUIRK, "mask", None, f"no mask explains why these are reset: {reset}", 0, of))
        return
    if not mask:
        says = f"no change of TOS byte is reset: {_listed(fates)}"
        lab.findings.found(Finding(_QUIRK, "enabled", False, says, of, of))
        return
    lived = [fate for _ in range(lab.plan.rounds) if (fate := await _is_reset(lab, _MIXED[0], _MIXED[0], [])) is False]
    says = f"after a SYN with 0x00: {_listed(fates)}; a SYN and segment with 0x{_MIXED[0]:02x} are not ({len(lived)})"
    lab.findings.found(Finding(_QUIRK, "mask", mask, says, of, of))
    if delays_ms:
        delay_ms = round(sorted(delays_ms)[len(delays_ms) // 2])
        says = f"the far end got FIN {min(delays_ms):.0f} to {max(delays_ms):.0f} ms after the reset"
        value = min(max(0, delay_ms), _MOST_DELAY_MS)
        lab.findings.found(Finding(_QUIRK, "external_close_delay_ms", value, says, len(delays_ms), len(delays_ms)))


async def _is_reset(lab: Lab, syn: int, value: int, delays_ms: list[float]) -> bool | None:
    """Whether a connection is reset for this byte; None if it cannot be made. Notes when the far end was closed."""
    trial = await lab.open_greeted(
        REPORT, Read(1, 2 * lab.plan.patience_s * lab.clock.scale), Send(1), Read(1, _CLOSED_WITHIN_S), tos=syn
    )
    if not isinstance(trial, Trial):
        return None
    try:
        set_tos(trial.stream.sock, value)
    except OSError:
        return None
    await trial.send()
    end = await trial.hear_out(1)
    if end not in {"rst", "bytes"}:
        await trial.forget()
        return None
    if end == "bytes":
        report = await trial.forget()
        for seen in report.all("state"):
            if seen.value.get("tos", syn) & 0xFC != syn:
                lab.findings.note(f"the SYN's TOS byte 0x{syn:02x} arrives as 0x{seen.value['tos']:02x}")
        return False
    reset_s = trial.seen.began_s + trial.seen.entries[-1].at_s
    report = await trial.their_report()
    if report.end == "fin" and report.end_entry is not None:
        delays_ms.append((report.began_s + report.end_entry.at_s - reset_s) * 1000)
    return True


def mask_of(fates: Mapping[int, bool]) -> int | None:
    """The mask that explains which bytes are reset after a SYN with 0x00: 0 if none is; None where no mask does."""
    mask = sum(value for value in _SINGLE if fates.get(value))
    return mask if all(bool(value & mask) is fate for value, fate in fates.items()) else None


def _listed(fates: Mapping[int, bool]) -> str:
    reset = [f"0x{value:02x}" for value, fate in fates.items() if fate]
    lived = [f"0x{value:02x}" for value, fate in fates.items() if value and not fate]
    return "; ".join(
        f"{', '.join(values)} {verb}" for values, verb in ((reset, "reset"), (lived, "let through")) if values
    )


def _takes_s(plan: Plan) -> float:
    return 0.1 * plan.rounds * (len(_SINGLE) + len(_MIXED) + 1)


PROBE = Probe("tos", _run, _takes_s)
