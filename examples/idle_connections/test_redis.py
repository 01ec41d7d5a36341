"""A subscriber that only waits hears nothing of its connection's end, and loses messages; one that pings keeps it.

    pip install vmnat-relay pytest redis
    python -m pytest test_redis.py

Works on every system with Redis.
"""

from __future__ import annotations

import pytest
import redis

from relay.testing import RunningRelay

PROFILES = ["aws-nat-gateway", "docker-desktop", "azure-load-balancer"]


@pytest.mark.nat_relay(PROFILES)
def test_a_subscriber_that_waits_loses_a_message(nat_relay: RunningRelay, redis_server: tuple[str, int]) -> None:
    host, port = nat_relay.forward(*redis_server)
    with redis.Redis(host, port) as client, client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscribe(subscriber)
        nat_relay.advance(350)
        still_there = publish(redis_server)
        assert subscriber.get_message(timeout=0.5) is None  # no message, and no error either
        # Docker Desktop tells the server; behind the others the server counts a subscriber that hears nothing.
        assert still_there == (nat_relay.profile.name != "docker-desktop")


@pytest.mark.nat_relay(PROFILES)
def test_one_that_pings_every_minute_gets_it(nat_relay: RunningRelay, redis_server: tuple[str, int]) -> None:
    host, port = nat_relay.forward(*redis_server)
    with redis.Redis(host, port) as client, client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscribe(subscriber)
        for _ in range(6):
            nat_relay.advance(60)
            subscriber.ping()  # in the app health_check_interval=60 does it
            assert (subscriber.get_message(timeout=5) or {})["type"] == "pong"
        assert publish(redis_server)
        assert (subscriber.get_message(timeout=5) or {})["data"] == b"wake up"


def subscribe(subscriber: redis.client.PubSub) -> None:
    subscriber.subscribe("alarms")
    subscriber.get_message(ignore_subscribe_messages=False, timeout=5)


def publish(redis_server: tuple[str, int]) -> bool:
    """Publish on a connection that is not behind the NAT; returns whether the server has a subscriber."""
    with redis.Redis(*redis_server) as client:
        return bool(client.publish("alarms", "wake up"))
