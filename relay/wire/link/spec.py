"""How people write where a guest is attached: `--wire SPEC`.

tun:NAME                    a TUN or TAP device that exists
interface:NAME              an Ethernet device whose other end is the guest
qemu:unix:PATH              QEMU connects to a Unix socket of ours
qemu:HOST:PORT              QEMU connects by TCP
qemu:dial:unix:PATH         we connect to a socket on which QEMU or another listens
qemu:dial:HOST:PORT
unixgram:PATH               vfkit, krunkit and others send datagrams to a Unix socket of ours
udp:HOST:PORT               VirtualBox's UDPTunnel, or QEMU's dgram: the guest is who sends first
udp:[BIND:]PORT:HOST:PORT   ... at this address, and no other
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TypeAlias

from relay.address import Endpoint, parse_endpoint, parse_forward
from relay.errors import ConfigError

_LONGEST_NAME = 15  # IFNAMSIZ, without its NUL
_LONGEST_PATH_BYTES = 103  # of a Unix socket: macOS has the least room
_KINDS = ("tun", "interface", "qemu", "unixgram", "udp")
FORMS = "tun:NAME, interface:NAME, qemu:unix:PATH, qemu:HOST:PORT, unixgram:PATH, udp:HOST:PORT"


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device of this host's: `kind` is `tun` or `interface`."""

    kind: str
    device: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.device}"


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream of QEMU's: a path, or an address; ours to listen on, unless `dials`."""

    place: str | Endpoint
    dials: bool = False

    def __str__(self) -> str:
        where = f"unix:{self.place}" if isinstance(self.place, str) else str(self.place)
        return f"qemu:{'dial:' if self.dials else ''}{where}"


@dataclass(frozen=True, slots=True)
class DatagramSpec:
    """A datagram socket of ours, at a path or an address; `peer` is the only guest, if it is given."""

    place: str | Endpoint
    peer: Endpoint | None = None

    def __str__(self) -> str:
        if isinstance(self.place, str):
            return f"unixgram:{self.place}"
        return f"udp:{self.place}" if self.peer is None else f"udp:{self.place}:{self.peer}"


WireSpec: TypeAlias = DeviceSpec | StreamSpec | DatagramSpec


def parse_wire(text: str, *, where: str = "--wire") -> WireSpec:
    """Read a SPEC.

    Raises:
        ConfigError: naming `where`, and the forms that there are.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _KINDS:
        near = difflib.get_close_matches(kind, _KINDS, n=1)
        guess = f"did you mean {near[0]}:? " if near else ""
        raise ConfigError(f"{where}: cannot read {text!r}", hint=f"{guess}the forms are {FORMS}")
    if kind in {"tun", "interface"}:
        return DeviceSpec(kind, _device(rest, where))
    if kind == "unixgram":
        return DatagramSpec(_path(rest, where))
    if kind == "udp":
        return _datagram(rest, where)
    verb, colon, place = rest.partition(":")
    dials = verb == "dial" and colon != ""
    return StreamSpec(_place(place if dials else rest, where), dials)


def _datagram(text: str, where: str) -> DatagramSpec:
    try:
        return DatagramSpec(parse_endpoint(text, where=where))
    except ConfigError as first:
        try:
            both = parse_forward(text, where=where)
        except ConfigError:
            raise first from None
    return DatagramSpec(both.bind, both.target)


def _place(text: str, where: str) -> str | Endpoint:
    kind, colon, path = text.partition(":")
    if kind == "unix" and colon:
        return _path(path, where)
    return parse_endpoint(text, where=where)


def _path(text: str, where: str) -> str:
    if not text or "\0" in text or len(text.encode("utf-8", "surrogateescape")) > _LONGEST_PATH_BYTES:
        raise ConfigError(
            f"{where}: {text!r} cannot be a socket's path",
            hint=f"give 1 to {_LONGEST_PATH_BYTES} bytes, e.g. /tmp/guest",
        )
    return text


def _device(text: str, where: str) -> str:
    bad = not text or len(text.encode("utf-8", "surrogateescape")) > _LONGEST_NAME or text in {".", ".."}
    if bad or any(letter.isspace() or letter in "/:\0" for letter in text):
        raise ConfigError(f"{where}: {text!r} cannot be a device's name", hint="see `ip link` for those there are")
    return text
