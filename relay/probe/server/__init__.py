"""The server of a probe: it runs outside, beyond the NAT, and does what scripts say on connections that came to it.

It never opens a connection to another host, and it says nothing to a peer that has not proved that it has the token.
"""

from relay.probe.server.serve import ProbeServer, open_probe_server

__all__ = ["ProbeServer", "open_probe_server"]
