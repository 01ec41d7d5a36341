"""The settings of our own TCP/IP toward the guest: the [stack] table of a profile.

The defaults follow RFC 9293, and of what it leaves open they take what is common now. What a product does otherwise is
a setting, and its profile has the evidence; nothing in this package asks which product that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from relay.settings import check_value, setting


@dataclass(frozen=True)
class Stack:
    """How the stack behaves toward the guest. Times are in seconds."""

    name: ClassVar[str] = "stack"
    of_proxy: ClassVar[frozenset[str]] = frozenset({"udp_idle_s"})
    """The settings that the proxy goes by, too: for the datagrams of SOCKS5."""

    mss: int = setting(
        1460,
        low=48,
        high=65_495,
        unit="bytes",
        doc="the largest payload we take, as our SYNs say it (RFC 9293 MUST-14); 1460 suits an MTU of 1500",
    )
    window: int = setting(
        64_240,
        low=1,
        high=65_535,
        unit="bytes",
        doc="the receive window; it is never scaled. 64240 is 44 segments of 1460",
    )
    syn_ack_options: str = setting(
        "mss", choices=("mss", "none"), doc="the options in our SYN and SYN,ACK, whatever the guest's SYN has"
    )
    syn_fin_dials: bool = setting(
        True, doc="whether SYN with FIN is taken for a SYN, as RFC 9293 has it (Linux drops it)"
    )
    isn: str = setting(
        "clock",
        choices=("clock", "random"),
        doc="initial sequence numbers: a clock and a secret (RFC 9293 MUST-8 and SHLD-1), or random",
    )
    isn_bits: int = setting(32, low=16, high=32, unit="bits", doc="how long random initial sequence numbers are")

    ttl: int = setting(64, low=1, high=255, doc="the TTL of our packets (RFC 1700: 64)")
    dont_fragment: bool = setting(True, doc="whether our TCP segments have DF set, as path MTU discovery wants it")
    ip_id: str = setting(
        "zero",
        choices=("zero", "counter"),
        doc="the IP identification: zero, which RFC 6864 allows where DF is set, or one counter for all packets",
    )

    ack: str = setting(
        "second",
        choices=("each", "second"),
        doc="acknowledge each segment, or at least every second one (RFC 9293 SHLD-19), the last after delayed_ack_s",
    )
    delayed_ack_s: float = setting(
        0.04, low=0, high=0.5, doc="how long an acknowledgement waits for company (RFC 9293 MUST-40: below 0.5 s)"
    )
    nagle: bool = setting(
        False,
        doc="hold back a small segment while another is in flight (RFC 9293 SHLD-7); what is relayed passed the "
        "server's own Nagle algorithm already",
    )
    first_retransmit_s: float = setting(
        1.0,
        low=0.01,
        high=60,
        doc="the retransmission timeout before a round trip was measured, and its least value ever (RFC 6298 2.1, 2.4)",
    )
    retransmit_tries: int = setting(
        6,
        low=1,
        high=100,
        doc="how many unanswered retransmissions end a connection (RFC 9293 SHLD-11: 100 s or more; six take 123)",
    )
    syn_retransmit_tries: int = setting(
        7, low=1, high=100, doc="the same for a SYN or SYN,ACK (RFC 9293 MUST-23: 180 s at least; seven take 183)"
    )

    time_wait_s: float = setting(
        60.0, low=0, high=600, doc="how long TIME-WAIT lasts: twice a segment's lifetime, taken for 30 s as BSD does"
    )
    fin_wait_2_s: float = setting(
        60.0,
        low=0,
        high=86_400,
        doc="how long a connection that the relay is done with waits for the guest to end it, too; 0: without a limit",
    )
    rst: str = setting(
        "strict",
        choices=("strict", "window"),
        doc="which RSTs end a connection: those at the very next sequence number (RFC 5961), or any in the window",
    )
    after_reset: str = setting(
        "close",
        choices=("close", "linger"),
        doc="after a RST for a wrong precedence, once the guest has acknowledged everything: the connection is over, "
        "or it stays until the guest resets it",
    )
    stray_window: int = setting(
        0, low=0, high=65_535, unit="bytes", doc="the window in a RST where there is no connection"
    )
    count_stray_fin: bool = setting(
        True, doc="whether the RST for a FIN without a connection acknowledges that FIN (RFC 9293: yes; 4.4BSD: no)"
    )

    udp_idle_s: float = setting(
        300.0,
        low=0,
        high=86_400,
        doc="an idle UDP mapping ends after this, at the latest after twice as long; 0: never",
    )
    port_unreachable: bool = setting(
        True, doc="whether the guest gets ICMP port unreachable when a server has no such UDP port"
    )
    echo_code: str = setting(
        "same", choices=("same", "zero"), doc="the code in an ICMP echo reply: the request's, or 0"
    )

    @classmethod
    def of(cls, table: Mapping[str, object], *, where: str = "stack") -> Stack:
        """The stack that a [stack] table describes; what it leaves out is the default.

        Raises:
            ConfigError: no such setting, the wrong type, or out of range; naming `where` and the key.
        """
        return cls(**{key: check_value(cls, key, value, where=f"{where}.{key}") for key, value in table.items()})  # type: ignore[arg-type]
