"""How both ends prove that they have the token, which never crosses itself; and the heads of all later connections.

    client                                            server
    {"relay-probe": 1, "nonce": C}        -->
                                          <--         {"relay-probe": 1, "nonce": S}
    {"proof": HMAC(token, "client" S C)}  -->
                                          <--         {"proof": HMAC(token, "server" S C), "session": ...}

A later connection begins with 32 bytes: magic, session, the number of its script, and an HMAC of these under a key that
follows from the token and the session. A number counts once, so that a head that was overheard opens nothing. Without a
token (on loopback alone) the proofs are made with an empty one. A connection whose number is 0 does no script: it is
held, and told so by one byte, for as long as the session may hold so many.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from relay.errors import ProtocolError

VERSION = 1
NONCE_BYTES = 16
PROOF_BYTES = 32
SESSION_BYTES = 8
TOKEN_BYTES = 16  # 128 bits, in 32 hexadecimal digits

MAGIC = b"\0rp\x01"
HEAD_BYTES = 32
MAX_NUMBER = 0xFFFF_FFFF
HELD = 0
"""The number in the heads of connections that are only held."""
_HEAD = struct.Struct("!4s8sI16s")
_MAC_BYTES = 16


def client_proof(token: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
    """What the client shows."""
    return _hmac(token, b"client", server_nonce, client_nonce)


def server_proof(token: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
    """What the server shows."""
    return _hmac(token, b"server", server_nonce, client_nonce)


def is_proof(shown: bytes, expected: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(shown, expected)


def session_key(token: bytes, session: bytes) -> bytes:
    """The key of a session's heads."""
    return _hmac(token, b"session", session)


def make_head(key: bytes, session: bytes, number: int) -> bytes:
    """The first bytes of the connection that is to do what script `number` says."""
    bare = MAGIC + session + number.to_bytes(4, "big")
    return bare + _hmac(key, b"head", bare)[:_MAC_BYTES]


def read_head(head: bytes) -> tuple[bytes, int]:
    """The session and the number that a head names; whether it is genuine, `is_genuine` says.

    Raises:
        ProtocolError: it is no head.
    """
    if len(head) != HEAD_BYTES or not head.startswith(MAGIC):
        raise ProtocolError("no head")
    _, session, number, _ = _HEAD.unpack(head)
    return session, number


def is_genuine(head: bytes, key: bytes) -> bool:
    """Whether a head was made with this key."""
    session, number = read_head(head)
    return hmac.compare_digest(head, make_head(key, session, number))


def _hmac(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"\0".join(parts), hashlib.sha256).digest()
