"""How much a probe does, and how long it takes: what its user may choose."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a probe is given. Times are of the NAT's clock, unless they are said to be real."""

    max_idle_s: float = 1200.0
    """The longest time without traffic that is tried; RFC 5382 asks NATs for 7440."""
    max_life_s: float = 0.0
    """How long a busy connection is watched; 0: not at all."""
    max_udp_s: float = 600.0
    """The longest time without a datagram that is tried; RFC 4787 asks NATs for 120 at least, better 300."""
    watch_s: float = 0.0
    """For how long connections are watched for their common death; 0: not at all."""
    first_age_s: float = 10.0
    """The shortest time without traffic that is tried."""
    ages: int = 16
    """How many are tried at once, from the shortest to the longest."""
    ages_between: int = 8
    """How many are tried then, between the longest that lived and the shortest that died."""
    max_flows: int = 2000
    """How many connections are opened at once at most, to one port."""
    port_dials: int = 200
    """How many connections are made one after the other, to see their ports."""
    dials: int = 500
    """How many connects are timed."""
    lookups: int = 200
    """How many lookups of a name are timed."""
    rounds: int = 3
    """How often each thing is looked at: so many agree, or what was found is not sure."""
    patience_s: float = 5.0
    """After how long without an answer a peer is taken for silent: real."""
    give_up_s: float = 150.0
    """How long a connect may take that is not answered."""
    keepalive_watch_s: float = 0.0
    """How long keepalive probes of the NAT's own are looked for: real. 170 finds those that come every 75 s."""
    only_server: bool = False
    """Whether the probe server alone is connected to, and no other address or unknown name is tried."""
