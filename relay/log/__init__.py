"""What happened: records of events, and how people, programs and tests get them.

    driver, server --emit--> EventLog --each record--> text lines, JSON lines, memory

`vocabulary` has every event with its fields, `event_log` the log itself, `text` and `record` its two forms, `memory`
what tests read, and `sink` writes lines beside the event loop.
"""

from relay.log.event_log import EventLog, Hold
from relay.log.record import Record
from relay.log.vocabulary import COMMON_FIELDS, FIELDS, Cause, EventType, How

__all__ = ["COMMON_FIELDS", "FIELDS", "Cause", "EventLog", "EventType", "Hold", "How", "Record"]
