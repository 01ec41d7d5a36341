"""The former name of `relay.log.memory`, for one release."""

import warnings

from relay.log.memory import FlowStory, Records, as_text

__all__ = ["FlowStory", "Records", "as_text"]

warnings.warn("relay.records is relay.log.memory now", DeprecationWarning, stacklevel=2)
