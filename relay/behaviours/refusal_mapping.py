"""What the initiator hears of a dial that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import Ignore, Refuse
from relay.behaviours._api import Actions, Behaviour, Conflict
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.events import DialFailed, DialFailure, FailureKind
from relay.settings import setting

_WORDS = ("as-is", "refused", "silence")
_SETTINGS = {
    FailureKind.REFUSED: "refused",
    FailureKind.NETWORK_UNREACHABLE: "unreachable",
    FailureKind.HOST_UNREACHABLE: "unreachable",
    FailureKind.TIMED_OUT: "timed_out",
    FailureKind.NOT_RESOLVED: "not_resolved",
}


@dataclass(frozen=True)
class RefusalMapping(Behaviour):
    """Turn why a dial failed into a refusal, or into no answer at all.

    An initiator that was granted its connection before the dial is beyond this: see `precomplete-handshake`.

    Source: https://github.com/microsoft/WSL/issues/10855: with mirrored networking a connect to a port of 127.0.0.1
    without a listener is not refused; the RST does not find its way back, and the app waits for its own limit.
    """

    refused: str = setting("as-is", choices=_WORDS, doc="for a port without a listener")
    unreachable: str = setting("as-is", choices=_WORDS, doc="for a host or network that cannot be reached")
    timed_out: str = setting("as-is", choices=_WORDS, doc="for a host that does not answer")
    not_resolved: str = setting("as-is", choices=_WORDS, doc="for a name that is not known")
    silence_s: float = setting(130.0, low=1, high=86_400, doc="how long the silence lasts, in s, before a reset")

    def wants(self) -> Iterable[Want]:
        if self._mapped():
            yield Want(Ability.HANDSHAKE)

    def conflict(self, beside: Mapping[str, Behaviour]) -> Conflict | None:
        mapped = self._mapped()
        handshake = beside.get(PrecompleteHandshake.name)
        if not (mapped and isinstance(handshake, PrecompleteHandshake) and handshake.order == "internal-first"):
            return None
        return Conflict(
            f"{mapped[0]} has no effect while precomplete-handshake.order is internal-first: "
            "the connection is granted before the dial",
            "set precomplete-handshake.failed instead, or another order",
        )

    def in_short(self) -> Mapping[str, str]:
        return {} if self.refused == "as-is" else {"refused": self.refused}

    def on_dial_failed(self, event: DialFailed) -> Actions:
        name = _SETTINGS.get(event.failure.kind)
        how = getattr(self, name) if name is not None else "as-is"
        if how == "silence":
            yield Ignore(self.silence_s)
        elif how == "refused":
            yield Refuse(DialFailure(FailureKind.REFUSED, event.failure.detail), instead=True)

    def _mapped(self) -> list[str]:
        """The kinds of failure that it makes something else of."""
        return [name for name in dict.fromkeys(_SETTINGS.values()) if getattr(self, name) != "as-is"]
