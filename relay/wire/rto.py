"""How long to wait for an acknowledgement before sending again (RFC 6298).

    first measurement    SRTT = R, RTTVAR = R/2
    later ones           RTTVAR += (|SRTT - R| - RTTVAR) / 4, SRTT += (R - SRTT) / 8
    RTO                  SRTT + 4 RTTVAR, within the bounds; doubled by each retransmission until the next measurement

Which segments may be measured is the sender's to know (Karn's algorithm).
"""

from __future__ import annotations

from typing import Final

_LONGEST_S: Final = 60.0  # RFC 6298 2.5: at least 60 s
_AFTER_LOST_SYN_S: Final = 3.0  # RFC 6298 5.7


class Rto:
    """The retransmission timeout, in seconds."""

    __slots__ = ("_settled_s", "_shortest_s", "_smoothed_s", "_variation_s", "value_s")

    def __init__(self, first_s: float) -> None:
        """Start with `first_s`, which is also the least that is ever waited (RFC 6298 2.1 and 2.4: 1 s each)."""
        self._shortest_s = first_s
        self._smoothed_s: float | None = None
        self._variation_s = 0.0
        self.value_s = self._settled_s = first_s

    def measure(self, round_trip_s: float) -> None:
        """Take in how long an acknowledgement took; ends any back-off."""
        if self._smoothed_s is None:
            self._smoothed_s, self._variation_s = round_trip_s, round_trip_s / 2
        else:
            self._variation_s += (abs(self._smoothed_s - round_trip_s) - self._variation_s) / 4
            self._smoothed_s += (round_trip_s - self._smoothed_s) / 8
        value_s = self._smoothed_s + 4 * self._variation_s
        self.value_s = self._settled_s = max(min(value_s, _LONGEST_S), self._shortest_s)

    def back_off(self) -> None:
        """Wait twice as long from now on."""
        self.value_s = min(self.value_s * 2, max(_LONGEST_S, self._shortest_s))

    def settle(self) -> None:
        """End the back-off: the peer was there, and had no room."""
        self.value_s = self._settled_s

    def recover_from_lost_syn(self) -> None:
        """Begin data transmission after a SYN had to be sent again."""
        self.value_s = max(self._shortest_s, _AFTER_LOST_SYN_S)
