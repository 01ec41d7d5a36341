"""A relay's control: HTTP for programs and browsers that see a relay that runs, and steer it.

    client --HTTP--> connection --Guard--> routes --a command--> the relay
                                             `--the event log's history--> flows, events, metrics

Every change is a command of `relay.control`, so this, the Python API and workers do the same.
"""

from relay.control_api.history import History
from relay.control_api.routes import TOXIPROXY_VERSION
from relay.control_api.server import ControlServer, open_control
from relay.control_api.spec import ControlSpec, control_spec

__all__ = ["TOXIPROXY_VERSION", "ControlServer", "ControlSpec", "History", "control_spec", "open_control"]
