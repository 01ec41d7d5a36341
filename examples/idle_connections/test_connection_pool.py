"""A pool hands out a dead connection after a quiet night, unless it checks each one, or keeps them with keepalive.

    pip install vmnat-relay pytest 'psycopg[binary,pool]'
    python -m pytest test_connection_pool.py

TCP_USER_TIMEOUT is for NATs that say nothing: without it a lost query blocks for 15 minutes. Needs Linux, and for that
silence CAP_NET_ADMIN: without it this host's kernel acknowledges what the NAT has lost (`relay doctor`).
"""

from __future__ import annotations

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from relay.abilities import Ability, Want
from relay.observe import Fidelity, survey
from relay.testing import RunningRelay

ALL = ["aws-nat-gateway", "docker-desktop", "azure-load-balancer"]
PROFILES = list(ALL)
if survey().of(Want(Ability.BLACKHOLE)).fidelity is not Fidelity.EXACT:
    PROFILES.remove("azure-load-balancer")


def conninfo(nat_relay: RunningRelay, postgres: tuple[str, int]) -> str:
    host, port = nat_relay.forward(*postgres)
    return f"host={host} port={port} user=postgres tcp_user_timeout=300"  # ms; outside of a test 10000 is enough


def ask(pool: ConnectionPool) -> bool:
    with pool.connection() as connection:
        return connection.execute("select true").fetchone() == (True,)


@pytest.mark.nat_relay(PROFILES)
def test_a_pool_hands_out_a_dead_connection(nat_relay: RunningRelay, postgres: tuple[str, int]) -> None:
    with ConnectionPool(conninfo(nat_relay, postgres), min_size=1) as pool:
        assert ask(pool)
        nat_relay.advance(350)
        with pytest.raises(psycopg.OperationalError):
            ask(pool)


@pytest.mark.nat_relay(PROFILES)
def test_a_pool_that_checks_connects_anew(nat_relay: RunningRelay, postgres: tuple[str, int]) -> None:
    check = ConnectionPool.check_connection
    with ConnectionPool(conninfo(nat_relay, postgres), min_size=1, check=check) as pool:
        assert ask(pool)
        nat_relay.advance(350)
        assert ask(pool)


@pytest.mark.nat_relay(ALL)
def test_a_pool_with_keepalive_keeps_its_connection(nat_relay: RunningRelay, postgres: tuple[str, int]) -> None:
    each_minute = f"{conninfo(nat_relay, postgres)} keepalives_idle=60 keepalives_interval=60"  # s
    with ConnectionPool(each_minute, min_size=1) as pool:
        assert ask(pool)
        nat_relay.advance(350)
        assert ask(pool)
    assert len(nat_relay.flows) == 1
