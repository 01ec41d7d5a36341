"""Opens the link that a SPEC describes."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from relay.address import Endpoint
from relay.errors import ConfigError, Unsupported
from relay.loop.forks import close_in_children, held
from relay.wire.link._api import Link
from relay.wire.link.datagram import DatagramLink
from relay.wire.link.devices import open_device
from relay.wire.link.spec import DatagramSpec, DeviceSpec, StreamSpec, WireSpec
from relay.wire.link.stream import StreamLink

_BACKLOG = 8  # one is served, the others are closed at once
_BIND_HINT = "give an address of this host, or a path in a directory of yours"
_BIND_HINTS = {
    errno.EADDRINUSE: "another program has it; choose another",
    errno.EACCES: "ports below 1024 need a privilege, and a path a directory of yours",
}


def open_link(spec: WireSpec, *, offload: bool = False, mtu: int = 1500, where: str = "--wire") -> Link:
    """Open a link; `offload` is for devices, which have an MTU of their own, `mtu` for the others.

    Raises:
        ConfigError: what was named is not there, or is in use, or not what it should be; naming `where`.
        Unsupported: this system has no such links, or this process may not open it.
    """
    match spec:
        case DeviceSpec(kind, device):
            return open_device(kind, device, offload=offload, where=where)
        case StreamSpec(place, True):
            return StreamLink(str(spec), dial=partial(_begin_connection, place), mtu=mtu)
        case StreamSpec(place, _):
            listener = _bound(place, socket.SOCK_STREAM, where)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            return StreamLink(str(spec), listener=listener, mtu=mtu, on_close=_removal(place))
        case DatagramSpec(place, peer):
            address = _resolved(peer, socket.SOCK_DGRAM)[1] if peer is not None else None
            sock = _bound(place, socket.SOCK_DGRAM, where)
            return DatagramLink(str(spec), sock, peer=address, mtu=mtu, on_close=_removal(place))


def _bound(place: str | Endpoint, kind: socket.SocketKind, where: str) -> socket.socket:
    try:
        family, address = _resolved(place, kind)
        if isinstance(place, str):
            _remove_stale(place, kind)
        with held:
            sock = socket.socket(family, kind)
            close_in_children(sock)
        try:
            if kind == socket.SOCK_STREAM and sys.platform != "win32":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            if isinstance(place, str):
                Path(place).chmod(0o600)  # a program that may write to it is the guest
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else "no such address"
        raise ConfigError(
            f"{where}: cannot listen on {place}: {reason}", hint=_BIND_HINTS.get(error.errno or 0, _BIND_HINT)
        ) from None
    return sock


def _begin_connection(place: str | Endpoint) -> socket.socket:
    family, address = _resolved(place, socket.SOCK_STREAM)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        with suppress(BlockingIOError):  # it goes on by itself
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolved(place: str | Endpoint, kind: socket.SocketKind) -> tuple[int, Any]:
    if isinstance(place, str):
        family = getattr(socket, "AF_UNIX", None)
        if family is None:
            raise Unsupported("this system has no Unix sockets for Python", hint="give qemu:HOST:PORT or udp:HOST:PORT")
        return family, place
    found, _, _, _, address = socket.getaddrinfo(place.host, place.port, type=kind, flags=socket.AI_PASSIVE)[0]
    return found, address


def _remove_stale(path: str, kind: socket.SocketKind) -> None:
    """Remove a socket that nothing has open any more: a relay that was killed has left it."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, kind) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()


def _removal(place: str | Endpoint) -> Callable[[], None]:
    """Return what removes the socket's file, if it has one, and it is still the same."""
    if not isinstance(place, str):
        return lambda: None
    mine = os.stat(place)

    def remove() -> None:
        with suppress(OSError):
            if os.path.samestat(mine, os.stat(place)):
                Path(place).unlink()

    return remove
