"""What this host can see and do, and how legs that are a kernel's sockets come by it; `survey.py` tells the order."""

from relay.observe._api import Failure, Fidelity, Offer, Provider, Support, Target, Watch, Watcher
from relay.observe.kernel.host import Host, Pollable, Timer
from relay.observe.kernel.owner import Process, owner_of
from relay.observe.kernel.syn import Syn, save_syn, syn_of
from relay.observe.observers import Observers
from relay.observe.survey import PROVIDERS, Survey, observer_names, survey

__all__ = [
    "PROVIDERS",
    "Failure",
    "Fidelity",
    "Host",
    "Observers",
    "Offer",
    "Pollable",
    "Process",
    "Provider",
    "Support",
    "Survey",
    "Syn",
    "Target",
    "Timer",
    "Watch",
    "Watcher",
    "observer_names",
    "owner_of",
    "save_syn",
    "survey",
    "syn_of",
]
