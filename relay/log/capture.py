"""A capture of both sides of the relay at once, for Wireshark: what takes two captures otherwise, and a guess at whose.

    guest   between the app and the relay
    host    between the relay and the server

Each packet's comment names the process that owns it and, where one acted, the behaviour: `git[4711], tos-reset`. The
process is in Apple's fields, too, which Wireshark 4.6 and later can filter by
(`frame.darwin.process_info.pname == "git"`). On the host's side that is the relay, on behalf of the app's process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from relay.log import pcapng
from relay.log.pcapng import INBOUND, OUTBOUND, RAW_IP, Buffer
from relay.printable import escape_unprintable

Process: TypeAlias = tuple[int, str]
"""A pid and a name."""

_MOST_KNOWN = 65_536  # processes that are remembered, and names that are written
_MOST_OPTIONS = 1024  # that are remembered, of each side
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Interface:
    """One side of the relay; the description says how it is known what passed there."""

    name: str
    description: str
    link_type: int = RAW_IP


class Capture:
    """A pcapng file in the making.

    `write` is given whole blocks, and returns whether it took them. Packets that it did not take are counted, and the
    next one says how many they were. Times are in seconds since `epoch_s`, which is in seconds since 1970: with
    `epoch_s=wall_s() - real_s()` they are an engine's `now_s()`.
    """

    def __init__(
        self, write: Callable[[bytes], bool], *, guest: Interface, host: Interface, relay: Process, epoch_s: float
    ) -> None:
        self._write = write
        self._epoch_ns = round(epoch_s * _NS)
        self._processes: dict[Process, int] = {}
        self._process_count = 0
        self._names: set[tuple[str, str]] = set()
        interfaces = [pcapng.interface(each.name, each.description, each.link_type) for each in (guest, host)]
        self._head = b"".join([pcapng.section("vmnat-relay"), *interfaces])
        write(self._head)
        self.guest = CapturedSide(self, 0, outward=INBOUND, inward=OUTBOUND)
        """Packets between the app and the relay."""
        self.host = CapturedSide(self, 1, outward=OUTBOUND, inward=INBOUND, acting=relay)
        """Packets between the relay and the server."""

    def name(self, address: str, name: str) -> None:
        """An address, IPv4 or IPv6, was found under this name."""
        found = (address, name)
        if found in self._names or len(self._names) >= _MOST_KNOWN:
            return
        if self._write(pcapng.name_of(address, escape_unprintable(name))):
            self._names.add(found)

    def close(self, at_s: float) -> None:
        """Say how many packets are missing, if any are; the file itself is the caller's."""
        for side in (self.guest, self.host):
            if side.lost_in_all:
                self._write(pcapng.statistics(side.interface, self.ns(at_s), side.lost_in_all))
            side.lost_in_all = 0

    def begin_anew(self, at_s: float) -> bytes:
        """End the section, and return what another begins with, in this file or in one of its own.

        The caller writes that before anything else: no block stands for itself without it.
        """
        self.close(at_s)
        self._processes.clear()
        self._process_count = 0
        self._names.clear()
        return self._head

    def ns(self, at_s: float) -> int:
        """The same in nanoseconds since 1970."""
        return self._epoch_ns + round(at_s * _NS)

    def write_with(self, processes: Sequence[Process], make: Callable[[list[int]], bytes]) -> bool:
        """Write the block that is made of the processes' indices, behind those of processes that are new."""
        new = [process for process in processes if process not in self._processes]
        indices = {process: self._process_count + place for place, process in enumerate(new)}
        block = make([indices[each] if each in indices else self._processes[each] for each in processes])
        if not self._write(b"".join([*(pcapng.process(*process) for process in new), block])):
            return False
        if len(self._processes) + len(new) > _MOST_KNOWN:
            self._processes.clear()
        self._processes.update(indices)
        self._process_count += len(new)
        return True


class AddPacket(Protocol):
    """Adds a packet of one side; `CapturedSide` has what the arguments mean."""

    def __call__(
        self,
        packet_parts: Sequence[Buffer],
        at_s: float,
        outward: bool,
        comment: str = "",
        process: Process | None = None,
        *,
        missing_bytes: int = 0,
    ) -> None: ...


class CapturedSide:
    """Adds one side's packets to a capture; see `AddPacket`."""

    def __init__(
        self, capture: Capture, interface: int, *, outward: int, inward: int, acting: Process | None = None
    ) -> None:
        self._capture = capture
        self._directions = (inward, outward)
        self._acting = [acting] if acting is not None else []
        self._lost = 0
        self.interface = interface
        self.lost_in_all = 0

    def __call__(
        self,
        packet_parts: Sequence[Buffer],
        at_s: float,
        outward: bool,
        comment: str = "",
        process: Process | None = None,
        *,
        missing_bytes: int = 0,
    ) -> None:
        """Add a packet of the flow of this process, `outward` from the app to the server.

        Its last `missing_bytes` are not in `packet_parts`, and not known.
        """
        owner = f"{escape_unprintable(process[1])}[{process[0]}]" if process is not None else ""
        whole = ", ".join(filter(None, (owner, escape_unprintable(comment))))
        processes = [*self._acting, process] if process is not None else self._acting

        def make(indices: list[int]) -> bytes:
            options = pcapng.packet_options(self._directions[outward], whole, *indices)
            at_ns = self._capture.ns(at_s)
            return pcapng.packet(
                self.interface, at_ns, packet_parts, options, missing_bytes=missing_bytes, lost_before=self._lost
            )

        if self._capture.write_with(processes, make):
            self._lost = 0
        else:
            self._lost += 1
            self.lost_in_all += 1
