"""What programs and tests hold of a relay that serves, with one set of verbs: in a thread, or in their own event loop.

    with serve_in_thread("vmware-fusion") as nat:          RunningRelay
        nat.wait_for("flow-ended")

    async with open_relay("vmware-fusion") as nat:         AsyncRelay
        await nat.wait_for("flow-ended")

`RelayHandle` has the verbs, and says what each means.
"""

from relay.handles._api import RelayHandle
from relay.handles.factory import RelayFactory
from relay.handles.in_loop import AsyncRelay, open_relay
from relay.handles.in_thread import RunningRelay, run_in_thread, serve_in_thread

__all__ = [
    "AsyncRelay",
    "RelayFactory",
    "RelayHandle",
    "RunningRelay",
    "open_relay",
    "run_in_thread",
    "serve_in_thread",
]
