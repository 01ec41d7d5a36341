"""What `relay run` can give a command on this host, found out by doing it. Linux alone."""

from __future__ import annotations

import os

from relay import defaults
from relay.errors import Unsupported
from relay.observe import Fidelity, Support
from relay.wire.addresses import addresses_in
from relay.wire.namespace.opening import open_namespace

NETWORK, PROCESSES = "a command's own network", "a command's own processes"
_NAMESPACES, _NONE = "namespaces", "none"


async def find_support() -> dict[str, Support]:
    """Open a network, and close it again; how well this host gives what a command is to have to itself."""
    try:
        namespace = await open_namespace(["true"], addresses_in(defaults.NETWORK))
    except Unsupported as refused:
        return dict.fromkeys((NETWORK, PROCESSES), Support(Fidelity.IMPOSSIBLE, _NONE, str(refused), refused.hint))
    obstacle = namespace.without_processes
    namespace.close()
    network = Support(Fidelity.EXACT, _NAMESPACES, f"through {namespace.link.name}, a device that leads to the relay")
    if not obstacle:
        how = "what it has started ends with it, or with the relay, however those end"
        return {NETWORK: network, PROCESSES: Support(Fidelity.EXACT, _NAMESPACES, how)}
    short = Support(
        Fidelity.APPROXIMATE,
        _NAMESPACES,
        "what it has started ends with it, or with the relay, unless relay and helper are killed in the same instant: "
        f"/proc cannot be mounted here: {os.strerror(obstacle).lower()}",
        "start the container so that nothing covers parts of /proc (docker: --security-opt systempaths=unconfined)",
    )
    return {NETWORK: network, PROCESSES: short}
