"""The front ends: each hands the driver the connections that are asked for, and words the answers."""

from relay.frontends._api import Conversation, Dial, Dialler, FrontEnd, Host, Names, PendingConnection
from relay.frontends.conversed import ConversedConnection

__all__ = ["Conversation", "ConversedConnection", "Dial", "Dialler", "FrontEnd", "Host", "Names", "PendingConnection"]
