"""Every packet on the device of this process's network, kept with the time at which the kernel saw it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from types import TracebackType

_ETH_P_ALL = 0x0003
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h
_TIMESPEC = struct.Struct("@ll")


class Frames:
    """Keeps them from its block's beginning on. A device without Ethernet (TUN) gives IP packets."""

    def __init__(self, device: str = "eth0") -> None:
        self.kept: list[tuple[float, bytes]] = []
        """When, on the wall clock, and the packet."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._socket.bind((device, _ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.settimeout(0.05)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Frames:
        self._thread.start()
        time.sleep(0.3)  # the kernel begins to stamp packets on their arrival a while after it was asked to
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(60)
        self._socket.close()

    def _keep(self) -> None:
        while not self._over.is_set():
            try:
                data, notes, _, _ = self._socket.recvmsg(65536, 64)
            except TimeoutError:
                continue
            seconds, nanoseconds = _TIMESPEC.unpack(notes[0][2])
            self.kept.append((seconds + nanoseconds / 1e9, data))
