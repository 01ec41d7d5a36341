"""The errors a person can meet, and nothing else.

Refusals, resets and timeouts of *flows* are values (`relay.events.DialFailure`, `relay.events.Ending`): they are what
this tool exists to show. The classes here are for what cannot go on: a wrong setting, a host that lacks something, a
peer that speaks nonsense, a behaviour or the relay itself at fault.
"""

from __future__ import annotations

from typing import ClassVar


class RelayError(Exception):
    """What went wrong, in one line that names the thing, and a hint at what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # for those who meet it in a traceback


class ConfigError(RelayError):
    """A setting is wrong. The message names where (option, or file and key); the hint names what is accepted."""

    exit_code = 2


class Unsupported(RelayError):
    """This host cannot do what was asked for. The message names what is missing; the hint is the remedy."""

    exit_code = 3


class BrokenBehaviour(UserWarning):
    """A package brings a behaviour that cannot be loaded; all others can be used."""


class ProtocolError(RelayError):
    """A client broke the protocol it speaks. `reply` is what it is owed before the connection is closed."""

    def __init__(self, message: str, *, reply: bytes = b"") -> None:
        super().__init__(message)
        self.reply = reply


class BehaviourError(RelayError):
    """A behaviour raised. Its flow ends; no other flow is touched."""

    def __init__(self, behaviour: str, event: object, cause: Exception) -> None:
        super().__init__(f"behaviour {behaviour!r} failed on {type(event).__name__}: {type(cause).__name__}: {cause}")
        self.behaviour = behaviour


class Unsettled(RelayError):
    """A clock cannot be moved on: something is under way and does not end. The message names the flow."""


class RelayBug(RelayError):
    """The relay contradicted itself."""
