"""The server of a probe: it runs outside, beyond the NAT, and does what scripts say on connections that came to it.

It opens no connection to another host. It answers only a peer that has proved that it has the token.
"""

from relay.probe.server.serve import ProbeServer, open_probe_server

__all__ = ["ProbeServer", "open_probe_server"]
