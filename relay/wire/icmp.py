"""ICMP through the NAT: echo requests leave by a socket of the host's, and the guest gets the replies that come back.

A reply comes from the host that was asked, and is never made up. For its own addresses the NAT itself is that host. All
other messages of the guest's are dropped.

Each of the guest's identifiers, of which a running `ping` has one, is mapped to an identifier on the host. A request
goes on with the guest's TTL less one, as from a router; a reply comes with the stack's.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from relay.wire.mappings import Close, End, Mappings, Open
from relay.wire.packet import ICMP, Buffer, Icmp, Ipv4, build_icmp
from relay.wire.udp import Packet

ECHO_REQUEST, ECHO_REPLY = 8, 0
IDLE_S = 60.0  # of a mapping; VMware's is not known, and passt, vpnkit and gvisor-tap-vsock have this
MAX_MAPPINGS = 256


class SendEcho(NamedTuple):
    """Send an echo request from an end's socket."""

    end: End
    destination: int
    ttl: int
    sequence: int
    payload: Buffer


Step: TypeAlias = Open | Close | SendEcho


class IcmpNat:
    """One NAT's ICMP. Times are seconds on the NAT's clock."""

    def __init__(self, *, code: str, limit: int = MAX_MAPPINGS) -> None:
        """`code` is the stack's `echo_code`: the code of a reply is the request's, or zero."""
        self._keeps_code = code == "same"
        self._codes: dict[End, int] = {}  # of each end's last request, if it is not 0
        self._mappings = Mappings(IDLE_S, limit)

    def __len__(self) -> int:
        """How many mappings there are."""
        return len(self._mappings)

    @property
    def next_deadline_s(self) -> float | None:
        """When `on_deadline` is to be called."""
        return self._mappings.next_sweep_s

    def on_message(self, ip: Ipv4, icmp: Icmp, now_s: float) -> list[Step]:
        """The guest sends a message; returns what is to be done, in order."""
        if icmp.kind != ECHO_REQUEST or ip.ttl <= 1:
            return []
        end = End(ip.source, icmp.ident)
        self._keep_code(end, icmp.code)
        steps: list[Step] = [*self._mappings.use(end, now_s)]
        steps.append(SendEcho(end, ip.destination, ip.ttl - 1, icmp.sequence, icmp.payload))
        self._forget_codes(steps)
        return steps

    def own_reply(self, ip: Ipv4, icmp: Icmp) -> Packet | None:
        """The reply to a message for an address of the NAT's own; None if it asks for none."""
        if icmp.kind != ECHO_REQUEST:
            return None
        code = icmp.code if self._keeps_code else 0
        header = build_icmp(ECHO_REPLY, code, icmp.ident, icmp.sequence, icmp.payload)
        return Packet(ip.destination, ip.source, ICMP, header, icmp.payload)

    def on_failed(self, end: End) -> None:
        """The end's socket could not be opened."""
        self._mappings.forget(end)
        self._codes.pop(end, None)

    def on_reply(self, end: End, source: int, sequence: int, payload: Buffer, now_s: float) -> Packet | None:
        """An echo reply came for an end; None if it is not mapped any more."""
        if not self._mappings.touch(end, now_s):
            return None
        header = build_icmp(ECHO_REPLY, self._codes.get(end, 0), end.number, sequence, payload)
        return Packet(source, end.address, ICMP, header, payload)

    def on_deadline(self, now_s: float) -> list[Close]:
        """End the mappings that are idle for long enough."""
        steps = self._mappings.sweep(now_s)
        self._forget_codes(steps)
        return steps

    def _keep_code(self, end: End, code: int) -> None:
        if code and self._keeps_code:
            self._codes[end] = code
        else:
            self._codes.pop(end, None)

    def _forget_codes(self, steps: list[Step] | list[Close]) -> None:
        for step in steps:
            if isinstance(step, Close):
                self._codes.pop(step.end, None)
