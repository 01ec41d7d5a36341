"""Why a flow ended, and how each of its sides did: the words of `flow-ended`.

Each member's docstring is its meaning, at run time too: the lists in docs/events.md are made from them. Where a
behaviour is the cause, the cause is the behaviour's name.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class _Word(StrEnum):
    """A word and its meaning."""

    def __new__(cls, value: str, meaning: str) -> Self:
        word = str.__new__(cls, value)
        word._value_ = value
        word.__doc__ = meaning
        return word


class Cause(_Word):
    """What ends a flow, or one side of it, where that is not a behaviour."""

    INTERNAL_PEER = "internal-peer", "the app ended it, with FIN or RST, or stopped answering"
    EXTERNAL_PEER = "external-peer", "the server ended it, with FIN or RST, or stopped answering"
    PEER = "peer", "of one side: its own peer ended it (the flow's cause is then `internal-peer` or `external-peer`)"
    DESTINATION = (
        "destination",
        "the relay could not do what was asked for: see `dial-failed`, `bind-failed`, `association-refused`, "
        "`name-resolved`",
    )
    NEXT_REQUEST = (
        "next-request",
        "plain HTTP: the client's next request is for another server, which is another flow",
    )
    PEER_CONNECTED = "peer-connected", "SOCKS BIND: the peer has connected; that connection is the next flow"
    ANSWERED = "answered", "SOCKS5: the client has asked what a name or an address stands for, and has its answer"
    HANDSHAKE_LIMIT = "handshake-limit", "a request's head was not complete within `--handshake-timeout`"
    HANDSHAKE_FAILED = "handshake-failed", "the client broke its protocol before its first request was complete"
    PROTOCOL_ERROR = "protocol-error", "plain HTTP: a later request or a response was malformed"
    NO_ROOM = (
        "no-room",
        "wire mode: too many handshakes were unfinished, and this one had waited longest",
    )
    ASSOCIATION_ENDED = "association-ended", "SOCKS5 datagrams: the TCP connection of their association ended"
    UDP_TIMEOUT = "udp-timeout", "SOCKS5 datagrams: none passed, either way, for the profile's `stack.udp_idle_s`"
    LINGER = "linger", "one side had ended, and the other did not end within 60 s"
    COMMAND = "command", "a command ended it: its port forward was closed, or a fault that ends flows was set"
    SHUTDOWN = "shutdown", "the relay stopped"
    FAULT = "fault", "the relay failed; `fault:NAME` if the behaviour of this name failed"


class How(_Word):
    """How one side of a flow ended."""

    FIN = "fin", "FIN, from that side or to it"
    RST = "rst", "RST, from that side or to it"
    REFUSED = "refused", "the relay refused its request"
    ABANDONED = "abandoned", "it left before it was connected"
    TIMEOUT = "timeout", "it stopped answering"
    SILENCE = "silence", "its segments get no answer any more"
    FORGOTTEN = "forgotten", "nothing was sent; its next segment is answered with RST"
    HANDED_OVER = "handed-over", "plain HTTP, SOCKS BIND: its connection goes on and serves the next flow"
