"""The former name of `relay.log.text`, for one release."""

import warnings

from relay.log.text import TextLines, describe

__all__ = ["TextLines", "describe"]

warnings.warn("relay.textlog is relay.log.text now", DeprecationWarning, stacklevel=2)
