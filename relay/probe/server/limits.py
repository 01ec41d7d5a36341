"""What a probe server lets its clients have."""

from __future__ import annotations

MAX_SESSIONS = 4
MAX_CONNECTIONS = 256
"""Of one session at once, those that are announced and have not come included."""
MAX_HELD = 4096
"""Connections of one session that are only held; none, unless it has asked for some."""
KEEP_HELD_S = 1200.0
"""How long each of these is held: real seconds."""
MAX_SESSION_BYTES = 10 * 1024 * 1024
"""That one session has the server send, in all."""
MAX_STRANGERS = 64
"""Connections that have not shown what they are yet; of more the oldest is closed."""
INTRODUCTION_S = 10.0
"""How long a connection has to show what it is: real seconds."""
KEEP_SESSION_S = 3600.0
"""How long results wait for a client that does not come back: real seconds."""
MAX_PORT_S = 300.0
"""How long one session may have the other port."""
MAX_DATAGRAMS = 4096
"""Requests by UDP of one session in all."""
MAX_DATAGRAMS_A_SECOND = 200
