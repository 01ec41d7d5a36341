"""The former name of `relay.log`, for one release."""

import warnings

from relay.log import COMMON_FIELDS, FIELDS, EventLog, EventType, Record

__all__ = ["COMMON_FIELDS", "FIELDS", "EventLog", "EventType", "Record"]

warnings.warn("relay.eventlog is relay.log now", DeprecationWarning, stacklevel=2)
