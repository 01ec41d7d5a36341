"""DHCP for IPv4, server side (RFC 2131, RFC 2132): which guest has which address, until when.

    DISCOVER --> OFFER, REQUEST --> ACK or NAK, INFORM --> ACK, RELEASE and DECLINE --> silence

A guest is known by its client identifier, or by its station. It gets the address that it had, else the one that it asks
for, else the first that no guest has ever had, else the one that has been free for longest. A guest that asks for an
address that is free gets it, also if this server has never heard of it: the relay may have been restarted meanwhile.

Defaults are those of VMware's DHCP server for vmnet8: leases of 30 minutes, two hours at most, domain `localdomain`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from relay.wire.addresses import Addresses

SERVER_PORT, CLIENT_PORT = 67, 68
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
_BOOTREQUEST, _BOOTREPLY, _ETHERNET = 1, 2, 1
_FIXED = struct.Struct(">BBBBIHHIIII16s64s128s4s")
_COOKIE = bytes.fromhex("63825363")
_PAD, _END = 0, 255
_BROADCAST_FLAG = 0x8000
_ANYONE = 0xFFFFFFFF
_LEAST_BYTES = 300  # RFC 1542 section 2.1
_OFFER_S = 60.0  # how long an offer holds
_MOST_GUESTS = 4096
_DECLINED_S = 600.0  # how long an address rests that a guest has found in use

_MASK, _ROUTER, _DNS, _DOMAIN, _BROADCAST, _NETBIOS = 1, 3, 6, 15, 28, 44
_WANTED, _LEASE, _KIND, _SERVER, _RENEWAL, _REBINDING, _CLIENT = 50, 51, 53, 54, 58, 59, 61


@dataclass(frozen=True, slots=True)
class Message:
    """What a client says."""

    kind: int
    transaction: int
    flags: int
    address: int
    """The client's own, or 0."""
    relay: int
    """The relay agent's address, or 0; `giaddr`."""
    mac: bytes
    options: dict[int, bytes]

    @property
    def client(self) -> bytes:
        return self.options.get(_CLIENT) or self.mac

    def number(self, option: int) -> int | None:
        """The value of an option of four bytes, None if it is missing or of another length."""
        value = self.options.get(option, b"")
        return int.from_bytes(value) if len(value) == 4 else None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server says: a UDP payload, the address to send it to, and the guest's station."""

    destination: int
    mac: bytes
    payload: bytes
    leased: int = 0
    """The address that the guest has now, 0 if this reply gives it none."""


@dataclass(slots=True)
class _Lease:
    client: bytes
    until_s: float


class DhcpServer:
    """The leases of one network, from the guest's address up to the server's own."""

    def __init__(
        self,
        addresses: Addresses,
        *,
        lease_s: int = 1800,
        max_lease_s: int = 7200,
        domain: str = "localdomain",
    ) -> None:
        self._addresses = addresses
        self._lease_s = lease_s
        self._max_lease_s = max_lease_s
        self._domain = domain.encode()
        own = {addresses.gateway, addresses.dns, addresses.host, addresses.dhcp, addresses.broadcast}
        last = addresses.dhcp if addresses.dhcp > addresses.guest else addresses.broadcast
        several = islice((each for each in range(addresses.guest, last) if each not in own), _MOST_GUESTS)
        self._pool = dict.fromkeys(several)  # in order
        self._leases: dict[int, _Lease] = {}

    def answer(self, payload: bytes | memoryview, now_s: float) -> Reply | None:
        """Answer a datagram to the server's port; None if it is no client's message, or there is no answer."""
        message = parse_message(bytes(payload))
        if message is None or message.relay:
            return None
        if message.kind == DISCOVER:
            return self._offer(message, now_s)
        if message.kind == REQUEST:
            return self._grant(message, now_s)
        if message.kind == INFORM and message.address:
            return self._reply(message, ACK, 0, self._settings())
        if message.kind in {DECLINE, RELEASE}:
            self._give_back(message, now_s)
        return None

    def _offer(self, message: Message, now_s: float) -> Reply | None:
        address = self._choose(message, now_s)
        if address is None:
            return None
        lease = self._leases.get(address)
        if lease is None or lease.client != message.client or lease.until_s < now_s + _OFFER_S:
            self._leases[address] = _Lease(message.client, now_s + _OFFER_S)
        return self._reply(message, OFFER, address, self._terms(message))

    def _grant(self, message: Message, now_s: float) -> Reply | None:
        server = message.number(_SERVER)
        if server is not None and server != self._addresses.dhcp:
            return None  # it has taken another server's offer
        wanted = message.number(_WANTED) or message.address
        if wanted not in self._pool or not self._is_free_for(message.client, wanted, now_s):
            return self._reply(message, NAK, 0, ())
        for address in self._of(message.client):
            if address != wanted:
                self._leases[address].until_s = now_s
        terms = dict(self._terms(message))
        self._leases[wanted] = _Lease(message.client, now_s + int.from_bytes(terms[_LEASE]))
        return self._reply(message, ACK, wanted, terms.items())

    def _give_back(self, message: Message, now_s: float) -> None:
        address = message.number(_WANTED) if message.kind == DECLINE else message.address
        lease = self._leases.get(address or 0)
        if address is None or lease is None or lease.client != message.client:
            return
        if message.kind == DECLINE:
            self._leases[address] = _Lease(b"", now_s + _DECLINED_S)
        else:
            lease.until_s = now_s

    def _choose(self, message: Message, now_s: float) -> int | None:
        client = message.client
        if had := self._of(client):
            return had[0]
        wanted = message.number(_WANTED)
        if wanted is not None and wanted in self._pool and self._is_free_for(client, wanted, now_s):
            return wanted
        for address in self._pool:
            if address not in self._leases:
                return address
        address = min(self._pool, key=lambda each: self._leases[each].until_s)
        return address if self._leases[address].until_s <= now_s else None

    def _of(self, client: bytes) -> list[int]:
        return [address for address, lease in self._leases.items() if lease.client == client]

    def _is_free_for(self, client: bytes, address: int, now_s: float) -> bool:
        lease = self._leases.get(address)
        return lease is None or lease.client == client or lease.until_s <= now_s

    def _terms(self, message: Message) -> Iterator[tuple[int, bytes]]:
        """Yield the options of an offer and of a lease."""
        wished = message.number(_LEASE)
        lease_s = min(wished or self._lease_s, self._max_lease_s)
        yield _LEASE, lease_s.to_bytes(4)
        yield _RENEWAL, (lease_s // 2).to_bytes(4)
        yield _REBINDING, (lease_s * 7 // 8).to_bytes(4)
        yield from self._settings()

    def _settings(self) -> Iterator[tuple[int, bytes]]:
        known = self._addresses
        yield _MASK, known.mask.to_bytes(4)
        yield _BROADCAST, known.broadcast.to_bytes(4)
        yield _ROUTER, known.gateway.to_bytes(4)
        yield _DOMAIN, self._domain
        yield _DNS, known.dns.to_bytes(4)
        yield _NETBIOS, known.dns.to_bytes(4)

    def _reply(self, message: Message, kind: int, address: int, options: Iterable[tuple[int, bytes]]) -> Reply:
        server = self._addresses.dhcp
        own = message.address if kind != NAK else 0
        fixed = _FIXED.pack(
            _BOOTREPLY, _ETHERNET, 6, 0, message.transaction, 0, message.flags,
            own, address, server if kind != NAK else 0, 0, message.mac, b"", b"", _COOKIE,
        )  # fmt: skip
        all_options = ((_KIND, bytes((kind,))), (_SERVER, server.to_bytes(4)), *options)
        encoded = b"".join(bytes((option, len(value))) + value for option, value in all_options)
        payload = (fixed + encoded + bytes((_END,))).ljust(_LEAST_BYTES, b"\0")
        # RFC 2131 section 4.1: a guest that has no address yet may not take a packet that is for one.
        destination = own
        if not own:
            destination = _ANYONE if message.flags & _BROADCAST_FLAG or kind == NAK else address
        return Reply(destination, message.mac, payload, leased=address if kind == ACK else 0)


def parse_message(payload: bytes) -> Message | None:
    """Read a client's message; None if it is malformed, or no DHCP over Ethernet."""
    if len(payload) < _FIXED.size:
        return None
    op, hardware, length, _, transaction, _, flags, address, _, _, relay, mac, _, _, cookie = _FIXED.unpack_from(
        payload
    )
    if (op, hardware, length, cookie) != (_BOOTREQUEST, _ETHERNET, 6, _COOKIE):
        return None
    options = _parse_options(payload[_FIXED.size :])
    kind = options.get(_KIND, b"")
    if len(kind) != 1:
        return None
    return Message(kind[0], transaction, flags, address, relay, mac[:6], options)


def _parse_options(data: bytes) -> dict[int, bytes]:
    """Read options up to their end; one that is cut off is left out, and pieces of one are joined (RFC 3396)."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else len(data)
        value = data[at + 2 : at + 2 + length]
        if len(value) < length:
            break
        found[data[at]] = found.get(data[at], b"") + value
        at += 2 + length
    return found
