"""A network that is far away: what is sent to it arrives after a delay, at a server in the same namespace.

It is a TUN device whose other end gives each packet back with its source and destination exchanged. So a connection
from `NEAR` to `FAR` arrives as one from `FAR` at the same port of `NEAR`, and the answers likewise; checksums stay
right. Made where `support.namespaces.in_own_network` runs.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from types import TracebackType

from relay.wire.link.tun import open_tun
from relay.wire.namespace.netlink import Netlink
from relay.wire.packet import undotted

NEAR, FAR = "192.168.86.161", "192.30.253.113"
"""The addresses of the first article's host and server."""
_DEVICE = "wan0"
_SOURCE, _DESTINATION = slice(12, 16), slice(16, 20)  # of an IPv4 header


class SlowNetwork:
    """Lasts for its block."""

    def __init__(self, delay_s: float, *, dead: bool = False) -> None:
        """Packets take `delay_s` each way; a dead network loses all of them."""
        self.packets: list[tuple[float, bytes]] = []
        """What was sent into it, by either end, and when, on the monotonic clock."""
        self._delay_s = delay_s
        self._dead = dead
        self._over = threading.Event()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._device = open_tun(_DEVICE)
        with Netlink() as netlink:
            netlink.bring_up(_DEVICE, mtu=1500)
            netlink.add_address(_DEVICE, undotted(NEAR), 24, undotted(NEAR) | 255)
            netlink.add_default_route(_DEVICE, undotted(NEAR) & ~255 | 1)
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> SlowNetwork:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(60)
        os.close(self._device)

    def _carry(self) -> None:
        while not self._over.is_set():
            wait_s = 0.05
            if self._under_way:
                wait_s = max(0.0, self._under_way[0][0] - time.monotonic())
            ready, _, _ = select.select((self._device,), (), (), min(wait_s, 0.05))
            now_s = time.monotonic()
            if ready:
                packet = os.read(self._device, 65536)
                self.packets.append((now_s, packet))
                if not self._dead and packet[0] >> 4 == 4:
                    swapped = packet[:12] + packet[_DESTINATION] + packet[_SOURCE] + packet[20:]
                    self._under_way.append((now_s + self._delay_s, swapped))
            while self._under_way and self._under_way[0][0] <= now_s:
                os.write(self._device, self._under_way.popleft()[1])
