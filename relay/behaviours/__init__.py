"""The behaviours there are: one module each in this package, and whatever other packages bring.

A package of your own adds one with an entry point:

    [project.entry-points."relay.behaviours"]
    reminder = "my_package:Reminder"
"""

from relay.behaviours._api import Actions, Behaviour, Conflict
from relay.behaviours._installed import ENTRY_POINT_GROUP, installed_behaviours
from relay.behaviours._lineup import Lineup
from relay.settings import setting

__all__ = ["ENTRY_POINT_GROUP", "Actions", "Behaviour", "Conflict", "Lineup", "installed_behaviours", "setting"]
