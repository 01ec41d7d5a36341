"""The guests of one relay: where they are attached, and what their network is like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from relay.stack import Stack
from relay.wire.dhcp import DhcpServer
from relay.wire.frontend import WireFrontEnd
from relay.wire.guest_network import GuestNetwork
from relay.wire.link import Link
from relay.wire.link.ethernet import EthernetLink
from relay.wire.link.opening import open_link
from relay.wire.link.spec import WireSpec
from relay.wire.tap import Tap


@dataclass(frozen=True, slots=True)
class Guests:
    """Each link in `specs` has a NAT of its own, and all have the same network."""

    specs: tuple[WireSpec, ...]
    network: GuestNetwork
    offload: bool

    @contextmanager
    def front_ends(self, stack: Stack, seed: int, tap: Tap | None = None) -> Iterator[list[WireFrontEnd]]:
        """Open the links; they are closed when the block is left, after the relay that they are for.

        A `tap` is shown the packets of all.

        Raises:
            ConfigError: one cannot be opened.
            Unsupported: this host has no such link.
        """
        with ExitStack() as links:
            opened: list[WireFrontEnd] = []
            for spec in self.specs:
                link = self._open(spec)
                links.callback(link.close)
                opened.append(WireFrontEnd(link, stack, self.network, seed, tap=tap))
            yield opened

    def _open(self, spec: WireSpec) -> Link:
        link, addresses = open_link(spec, offload=self.offload), self.network.addresses
        return EthernetLink(link, addresses, dhcp=DhcpServer(addresses)) if link.ethernet else link
