"""The former name of `relay.log`, for one release."""

from relay.log import COMMON_FIELDS, FIELDS, EventLog, EventType, Record

__all__ = ["COMMON_FIELDS", "FIELDS", "EventLog", "EventType", "Record"]
