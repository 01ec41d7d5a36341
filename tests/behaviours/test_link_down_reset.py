"""`link-down-reset`: both sides are reset, and nothing needs to be seen on the wire for it."""

from __future__ import annotations

from relay.actions import SendRst
from relay.behaviours.link_down_reset import LinkDownReset
from relay.events import LinkWentDown, Side
from relay.testing.playbook import connected, play


def test_both_sides_are_reset_at_once() -> None:
    play(connected(LinkDownReset()), (LinkWentDown(3.0), [SendRst(Side.INTERNAL), SendRst(Side.EXTERNAL)]))


def test_it_works_on_every_host() -> None:
    assert set(LinkDownReset().wants()) == set()
