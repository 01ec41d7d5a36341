"""The former name of `relay.config.options`, for one release."""

import warnings

from relay.config.options import RelayOptions, Settings, configured, from_keywords

__all__ = ["RelayOptions", "Settings", "configured", "from_keywords"]

warnings.warn("relay.options is relay.config.options now", DeprecationWarning, stacklevel=2)
