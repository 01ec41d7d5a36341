"""Carries out a single action on a flow, without a machine that has asked for it."""

from __future__ import annotations

from relay.actions import Action
from relay.driver.flow import Flow
from relay.driver.performing import PERFORMERS


def perform(flow: Flow, action: Action, because: str) -> None:
    PERFORMERS[type(action)](flow, action, because)
