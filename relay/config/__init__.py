"""A relay's configuration, checked before anything is opened.

`configure` takes every setting the way people write it, for the command line, tests and programs alike; whatever is
wrong with one is a `ConfigError` that names it. `options` has the same settings as Python programs give them.
"""

from relay.config.configure import configure
from relay.config.ranges import MAX_ADVANCE_S, MAX_TIME_SCALE, check_advance, check_time_scale
from relay.config.relay_config import RelayConfig

__all__ = [
    "MAX_ADVANCE_S",
    "MAX_TIME_SCALE",
    "RelayConfig",
    "check_advance",
    "check_time_scale",
    "configure",
]
