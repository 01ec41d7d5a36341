"""What a relay does where its user says nothing: the defaults of the command line and of Python's options alike.

Nothing is imported here, so that the command line can show a default without loading the relay.
"""

from __future__ import annotations

PROFILE = "vmware-fusion"
LISTEN = "127.0.0.1:1080"
PROBE_LISTEN = "127.0.0.1:7350"
BACKEND = "asyncio"
WORKERS = 1
HANDSHAKE_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 30.0
RUN_CONNECT_TIMEOUT_S = 130.0  # a guest's kernel gives up by itself, after 127 s on Linux
DRAIN_TIMEOUT_S = 5.0
TIME_SCALE = 1.0
NETWORK = "192.168.127.0/24"
OFFLOAD = "auto"
CLOCK = "running"
