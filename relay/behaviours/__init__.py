"""The behaviours there are: one module each in this package, and whatever other packages bring.

A package of your own adds one with an entry point:

    [project.entry-points."relay.behaviours"]
    reminder = "my_package:Reminder"
"""

from relay.behaviours._api import Actions, Behaviour, Conflict
from relay.behaviours._installed import ENTRY_POINT_GROUP, installed_behaviours, with_aliases
from relay.behaviours._lineup import Conditional, Lineup
from relay.behaviours._udp_timeout import UdpTimeout
from relay.behaviours._when import ALWAYS, When, read_condition, read_when
from relay.settings import setting

__all__ = [
    "ALWAYS",
    "ENTRY_POINT_GROUP",
    "Actions",
    "Behaviour",
    "Conditional",
    "Conflict",
    "Lineup",
    "UdpTimeout",
    "When",
    "installed_behaviours",
    "read_condition",
    "read_when",
    "setting",
    "with_aliases",
]
