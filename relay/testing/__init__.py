"""For tests and scripts: a relay for code without an event loop, and what tests of one's own legs and behaviours need.

    with serve_in_thread("vmware-fusion", tos_reset={"mask": 0xFC}) as nat:
        requests.get(url, proxies={"http": nat.socks_url})
        nat.wait_for(EventType.FLOW_ENDED, because="tos-reset")

The relay runs in a thread and an event loop of its own; everything that `nat` offers may be called from any other
thread. With pytest, the fixture `nat_relay` gives the same object. `relay.testing.playbook` tests a behaviour
without sockets.
"""

from relay.address import Endpoint
from relay.config.options import RelayOptions
from relay.events import SideName
from relay.handles import RelayFactory, RunningRelay, run_in_thread, serve_in_thread
from relay.log import EventType, Record
from relay.log.memory import FlowStory
from relay.testing._check_leg import check_leg
from relay.testing._leg_checks.ends import LegPair
from relay.testing._memory_leg import MemoryLeg, memory_pair
from relay.testing._memory_loop import MemoryLoop

__all__ = [
    "Endpoint",
    "EventType",
    "FlowStory",
    "LegPair",
    "MemoryLeg",
    "MemoryLoop",
    "Record",
    "RelayFactory",
    "RelayOptions",
    "RunningRelay",
    "SideName",
    "check_leg",
    "memory_pair",
    "run_in_thread",
    "serve_in_thread",
]
