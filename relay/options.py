"""The former name of `relay.config.options`, for one release."""

import warnings

from relay.config.options import RelayOptions, Settings, configured

__all__ = ["RelayOptions", "Settings", "configured"]

warnings.warn("relay.options is relay.config.options now", DeprecationWarning, stacklevel=2)
