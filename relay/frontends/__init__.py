"""The front ends: each hands the driver the connections that are asked for, and words the answers."""

from relay.frontends._api import Conversation, FrontEnd, Host, PendingConnection
from relay.frontends.conversed import ConversedConnection

__all__ = ["Conversation", "ConversedConnection", "FrontEnd", "Host", "PendingConnection"]
