"""Which protocol a client speaks, by the first byte that it sends.

    0x04            SOCKS4 and SOCKS4a: the version
    0x05            SOCKS5: the version
    A-Z, a-z        HTTP: the first letter of a method

Nothing else begins with those: a method never starts with a control character, and both SOCKS put their version first.
A TLS ClientHello starts with 0x16; it gets no answer, for whatever was written would be read as a broken TLS record.
"""

from __future__ import annotations

from relay.errors import ProtocolError
from relay.protocols._base import Credentials, Handshake
from relay.protocols.http import HttpHandshake
from relay.protocols.socks4 import Socks4Handshake
from relay.protocols.socks5 import Socks5Handshake

_TLS_HANDSHAKE = 0x16  # RFC 8446 section 5.1, ContentType


def open_handshake(first: bytes, credentials: Credentials | None) -> Handshake:
    """The handshake that `first`, what the client sent first, begins; it has received `first` already.

    Raises:
        ProtocolError: it is no protocol the proxy port speaks, or `first` is empty.
    """
    handshake = _choose(first, credentials)
    handshake.receive_data(first)
    return handshake


def _choose(first: bytes, credentials: Credentials | None) -> Handshake:
    if not first:
        raise ProtocolError("the client ended the connection without a request")
    if first[0] == 0x04:
        return Socks4Handshake(credentials)
    if first[0] == 0x05:
        return Socks5Handshake(credentials)
    if first[:1].isalpha():
        return HttpHandshake(credentials)
    if first[0] == _TLS_HANDSHAKE:
        raise ProtocolError(
            "the client began with a TLS handshake: the proxy port speaks plain SOCKS or HTTP (a proxy URL is http://...)"
        )
    raise ProtocolError(f"the client speaks neither SOCKS nor HTTP: it began with {_begin_of(first)!r}")


def _begin_of(first: bytes) -> bytes:
    """What may tell which protocol it is: of text the first character alone, for what follows may be a token."""
    return first[:1] if b" " <= first[:1] <= b"~" else first[:8]
