"""Every connection dies when the host's link goes down."""

from __future__ import annotations

from dataclasses import dataclass

from relay.actions import SendRst
from relay.behaviours._api import Actions, Behaviour
from relay.events import LinkWentDown, Side


@dataclass(frozen=True)
class LinkDownReset(Behaviour):
    """Reset both sides when the link goes down, be it for the blink of a DHCP renewal.

    Source: VMware's nat.conf, `resetConnectionOnLinkDown = 1`, the default. On Linux hosts its daemon takes every new
    address for a link event, so that a renewed lease or a container's start resets the guest's connections.
    """

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        yield SendRst(Side.INTERNAL)
        yield SendRst(Side.EXTERNAL)
