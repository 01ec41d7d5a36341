"""Toxiproxy's HTTP API (version 2.12): its clients steer this relay unmodified.

A proxy is a port forward, a toxic a fault of that forward's flows. What clients ask for becomes commands of
`relay.control`; names, and what is disabled, are kept here.
"""

from relay.control_api.toxiproxy.proxies import Proxies
from relay.control_api.toxiproxy.routes import ToxiproxyRoutes

__all__ = ["Proxies", "ToxiproxyRoutes"]
