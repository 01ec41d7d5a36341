"""Records of flows, made by hand: what an event log would have, without a relay."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from relay.log import FIELDS, Record
from relay.log.capture import Capture
from relay.log.rebuilt import GUEST, HOST, Rebuilder

STARTED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
SSH = (6441, "ssh")


class Told:
    """A log in the making: each call adds a record, and what the flow had carried by then is remembered."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._carried: dict[int | None, tuple[int, int]] = {}

    def __call__(
        self, at_s: float, event: str, flow: int | None = 1, carried: tuple[int, int] | None = None, **fields: Any
    ) -> None:
        """Add a record; fields that are not given are null."""
        if carried is not None:
            self._carried[flow] = carried
        process = SSH if flow is not None else None
        every = {name: fields.pop(name, None) for name in FIELDS[event]}
        assert not fields
        self.records.append(Record(event, at_s, flow, process, every, 0.0, self._carried.get(flow, (0, 0))))

    def start(self, profile: str = "vmware-fusion-11") -> None:
        self(
            0.0,
            "relay-started",
            None,
            profile=profile,
            forwards=[],
            inbound=[],
            wire=[],
            seed=7,
            time_scale=1,
            backend="asyncio",
            workers=1,
            fidelity={},
        )

    def open(self, at_s: float, flow: int = 1, *, via: str = "forward", destination: str = "127.0.0.1:22") -> None:
        self(at_s, "flow-opened", flow, via=via, client="127.0.0.1:40022", destination=destination)

    def connect(self, at_s: float, flow: int = 1, *, dial_s: float = 0.001) -> None:
        self(at_s, "flow-connected", flow, address="127.0.0.1:22", local="127.0.0.1:50000", dial_s=dial_s)

    def tos(
        self, at_s: float, flow: int = 1, *, old: int = 0x48, new: int | None = 0x20, side: str = "internal"
    ) -> None:
        precedence = None if new is None else new >> 5
        self(
            at_s,
            "tos-changed",
            flow,
            side=side,
            syn=old,
            old=old,
            new=new,
            syn_precedence=old >> 5,
            new_precedence=precedence,
        )

    def end(
        self,
        at_s: float,
        flow: int = 1,
        *,
        because: str = "internal-peer",
        internal: str | None = "fin",
        external: str | None = "fin",
        duration_s: float = 1.0,
        granted_after_s: float | None = None,
    ) -> None:
        out, inward = self._carried.get(flow, (0, 0))
        self(
            at_s,
            "flow-ended",
            flow,
            destination="127.0.0.1:22",
            because=because,
            internal=internal,
            internal_because=because if internal else None,
            external=external,
            external_because=because if external else None,
            bytes_out=out,
            bytes_in=inward,
            bytes_lost=0,
            duration_s=duration_s,
            granted_after_s=granted_after_s,
        )

    def lines(self) -> str:
        """The log as `--events` writes it."""
        return "".join(f"{record.as_json(STARTED_AT)}\n" for record in self.records)


def reset_flow(told: Told, flow: int = 1, *, at_s: float = 1.0) -> None:
    """A flow that is marked anew, and reset for it."""
    told.open(at_s, flow)
    told.connect(at_s + 0.002, flow)
    told.tos(at_s + 0.524, flow)
    told(at_s + 0.525, "rst-sent", flow, (3489, 3365), side="internal", because="tos-reset")
    told(at_s + 0.637, "fin-sent", flow, side="external", because="tos-reset")
    told(at_s + 0.644, "fin-received", flow, side="external")
    told.end(at_s + 0.644, flow, because="tos-reset", internal="rst", duration_s=0.644, granted_after_s=0.002)


def plain_flow(told: Told, flow: int = 1, *, at_s: float = 1.0) -> None:
    """A flow that ends as any may."""
    told.open(at_s, flow, via="socks5")
    told.connect(at_s + 0.002, flow)
    told(at_s + 0.01, "fin-received", flow, (100, 2000), side="internal")
    told(at_s + 0.01, "fin-sent", flow, side="external", because="close-mapping")
    told(at_s + 0.02, "fin-received", flow, side="external")
    told(at_s + 0.02, "fin-sent", flow, side="internal", because="close-mapping")
    told.end(at_s + 0.02, flow, duration_s=0.02, granted_after_s=0.002)


def two_flows() -> Told:
    """A relay that started, a flow that ended as any may, and one that a behaviour ended."""
    told = Told()
    told.start()
    plain_flow(told, 1)
    reset_flow(told, 2)
    return told


def rebuilt_capture(records: Iterable[Record]) -> bytes:
    """What `--pcap` would have written of these."""
    data = bytearray()

    def write(piece: bytes) -> bool:
        data.extend(piece)
        return True

    capture = Capture(write, guest=GUEST, host=HOST, relay=(1, "relay"), epoch_s=STARTED_AT)
    rebuilder = Rebuilder(capture.guest, capture.host, capture.name)
    for record in records:
        rebuilder(record)
    return bytes(data)
