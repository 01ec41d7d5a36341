"""A subscriber that only waits loses messages when its connection is forgotten; TCP keepalive keeps the connection.

    pip install vmnat-relay pytest redis
    python -m pytest test_redis.py

`advance` counts the keepalive probes that the socket would send meanwhile, as these NATs do. Behind a load balancer,
which counts data alone (`aws-elb`), have the subscriber ping instead. Works on Linux.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from relay.testing import RunningRelay

PROFILES = ["aws-nat-gateway", "docker-desktop", "azure-load-balancer"]
EVERY_MINUTE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 60}


@contextlib.contextmanager
def subscriber(address: tuple[str, int], **options: Any) -> Iterator[redis.client.PubSub]:
    with redis.Redis(*address, **options) as client, client.pubsub(ignore_subscribe_messages=True) as alarms:
        alarms.subscribe("alarms")
        alarms.get_message(ignore_subscribe_messages=False, timeout=5)
        yield alarms


def publish(redis_server: tuple[str, int]) -> bool:
    """Publish on a connection that is not behind the NAT; returns whether the server has a subscriber."""
    with redis.Redis(*redis_server) as client:
        return bool(client.publish("alarms", "wake up"))


@pytest.mark.nat_relay(PROFILES)
def test_a_subscriber_without_keepalive_loses_a_message(nat_relay: RunningRelay, redis_server: tuple[str, int]) -> None:
    with subscriber(nat_relay.forward(*redis_server), socket_keepalive=False) as alarms:
        nat_relay.advance(350)
        still_there = publish(redis_server)
        assert alarms.get_message(timeout=0.5) is None  # no message, and no error either
    # Docker Desktop tells the server; behind the others the server counts a subscriber that hears nothing.
    assert still_there == (nat_relay.profile.name != "docker-desktop")


@pytest.mark.nat_relay(PROFILES)
def test_one_with_keepalive_gets_it(nat_relay: RunningRelay, redis_server: tuple[str, int]) -> None:
    keepalive = {"socket_keepalive": True, "socket_keepalive_options": EVERY_MINUTE}
    with subscriber(nat_relay.forward(*redis_server), **keepalive) as alarms:
        nat_relay.advance(350)
        assert publish(redis_server)
        assert (alarms.get_message(timeout=5) or {})["data"] == b"wake up"
