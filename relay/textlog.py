"""The former name of `relay.log.text`, for one release."""

from relay.log.text import TextLines, describe

__all__ = ["TextLines", "describe"]
