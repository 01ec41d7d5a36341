"""The ways in: each hands the driver what asks for a connection, and words its answer."""

from relay.frontends._api import Conversation, FrontEnd, Host, PendingConnection
from relay.frontends.conversed import ConversedConnection

__all__ = ["Conversation", "ConversedConnection", "FrontEnd", "Host", "PendingConnection"]
