"""The former name of `relay.log.memory`, for one release."""

from relay.log.memory import FlowStory, Records, as_text

__all__ = ["FlowStory", "Records", "as_text"]
