"""Where a guest is attached: objects that take packets or frames from it, and give it some."""

from relay.wire.link._api import Link

__all__ = ["Link"]
