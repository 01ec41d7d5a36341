"""The settings of our own TCP/IP: a profile's [stack] table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from relay.errors import ConfigError


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """How the stack behaves toward the guest. The defaults are RFC 9293's."""

    mss: int = 1460
    window: int = 64240
    ttl: int = 64
    dont_fragment: bool = True
    syn_ack_options: str = "mss"
    ack: str = "second"
    delayed_ack_s: float = 0.2
    first_retransmit_s: float = 1.0
    retransmit_tries: int = 6
    syn_retransmit_tries: int = 7
    nagle: bool = False
    time_wait_s: float = 60.0
    fin_wait_2_s: float = 60.0
    stray_window: int = 0
    count_stray_fin: bool = True
    ip_id: str = "zero"
    isn: str = "clock"
    rst: str = "strict"
    after_reset: str = "close"
    udp_idle_s: float = 300.0
    port_unreachable: bool = True
    echo_code: str = "echoed"

    @classmethod
    def of(cls, table: Mapping[str, object]) -> Stack:
        """The stack that a [stack] table describes.

        Raises:
            ConfigError: an unknown key, or a value out of range.
        """
        try:
            return cls(**table)  # type: ignore[arg-type]
        except TypeError as wrong:
            raise ConfigError(f"stack: {wrong}") from wrong
