"""The stack of VMware's NAT, as far as it was seen; the profiles have the evidence."""

from __future__ import annotations

from relay.wire.stack import Stack

VMNAT = Stack.of(
    {
        "ack": "each",
        "after_reset": "linger",
        "count_stray_fin": False,
        "dont_fragment": False,
        "echo_code": "zero",
        "first_retransmit_s": 0.1025,
        "ip_id": "counter",
        "isn": "random",
        "port_unreachable": False,
        "stray_window": 32_767,
        "time_wait_s": 30,
        "ttl": 128,
        "udp_idle_s": 60,
    }
)
