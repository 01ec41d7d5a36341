"""The protocols a client may speak to the proxy port, as machines without sockets.

`open_handshake` tells them apart by the first byte; all have the same verbs (`Handshake`).
"""

from relay.protocols._base import (
    NEED_DATA,
    Associate,
    Bind,
    Connect,
    Credentials,
    Handshake,
    HandshakeEvent,
    NeedData,
    Question,
    Resolve,
    Send,
)
from relay.protocols.http import HttpHandshake
from relay.protocols.http_exchange import HttpExchange
from relay.protocols.sniff import open_handshake
from relay.protocols.socks4 import Socks4Handshake
from relay.protocols.socks5 import Socks5Handshake

__all__ = [
    "NEED_DATA",
    "Associate",
    "Bind",
    "Connect",
    "Credentials",
    "Handshake",
    "HandshakeEvent",
    "HttpExchange",
    "HttpHandshake",
    "NeedData",
    "Question",
    "Resolve",
    "Send",
    "Socks4Handshake",
    "Socks5Handshake",
    "open_handshake",
]
