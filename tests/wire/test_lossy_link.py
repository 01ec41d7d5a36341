"""Bytes arrive intact over a link that loses, doubles and reorders; how long it takes is in a snapshot."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.stack import Stack
from support.lossy_link import Link, transfer

SNAPSHOT = Path(__file__).with_name("lossy_link.json")
"""Rewrite it with RELAY_SNAPSHOT=1, and look at what has changed."""
WINDOWS = (1460, 2920, 11_680, 32_768, 64_240)
LINKS = {
    "clean": Link(),
    "loss 1 %": Link(loss=0.01),
    "loss 2 %": Link(loss=0.02),
    "loss 5 %": Link(loss=0.05),
    "loss 10 %": Link(loss=0.1),
    "loss 20 %": Link(loss=0.2),
    "duplication 10 %": Link(duplication=0.1),
    "duplication 30 %": Link(duplication=0.3),
    "reordering 10 %": Link(reordering=0.1),
    "reordering 30 %": Link(reordering=0.3),
    "all of it": Link(loss=0.03, duplication=0.05, reordering=0.1),
}
DOWN, UP = os.urandom(300_000), os.urandom(150_000)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", LINKS)
def test_what_is_sent_arrives_and_takes_as_long_as_before(name: str, window: int) -> None:
    stack = Stack.of({"window": window, "first_retransmit_s": 0.1025, "retransmit_tries": 20})
    outcome = transfer(stack, LINKS[name], DOWN, UP, seed=7)
    assert outcome.intact
    key = f"{name}, window {window}"
    found = {"elapsed_s": round(outcome.elapsed_s, 3), "segments": outcome.segments}
    snapshot = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.exists() else {}
    if os.environ.get("RELAY_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps({**snapshot, key: found}, indent=1) + "\n", encoding="utf-8")
        return
    assert found == snapshot[key]


@settings(max_examples=150)
@given(
    link=st.builds(
        Link,
        delay_s=st.floats(0.0001, 0.5),
        loss=st.floats(0, 0.25),
        duplication=st.floats(0, 0.3),
        reordering=st.floats(0, 0.5),
    ),
    stack=st.builds(
        Stack,
        window=st.integers(1, 65_535),
        mss=st.integers(48, 1460),
        ack=st.sampled_from(["each", "second"]),
        nagle=st.booleans(),
        first_retransmit_s=st.sampled_from([0.05, 1.0]),
        retransmit_tries=st.just(100),
        syn_retransmit_tries=st.just(100),
    ),
    down=st.integers(0, 5000),
    up=st.integers(0, 5000),
    seed=st.integers(0, 1000),
)
def test_any_link_and_any_stack_deliver_both_streams_whole(
    link: Link, stack: Stack, down: int, up: int, seed: int
) -> None:
    assert transfer(stack, link, DOWN[:down], UP[:up], seed).intact
