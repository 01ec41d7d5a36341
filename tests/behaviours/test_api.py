"""How a behaviour is written: names, handlers, needed facts, settings, and the mistakes that are caught."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from relay import events
from relay.abilities import Ability, Want
from relay.actions import Note, StartTimer
from relay.behaviours import Actions, Behaviour, installed_behaviours, setting
from relay.behaviours._api import HANDLERS
from relay.events import (
    ConnectRequested,
    DialSucceeded,
    Event,
    FinReceived,
    InitiatorVanished,
    LinkWentDown,
    ProbeArrived,
    RstReceived,
    TimerFired,
    TosChanged,
)


@dataclasses.dataclass
class ReminderTwice(Behaviour):
    after_s: float = setting(3.0, low=0, doc="how long to wait, in seconds")

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield StartTimer("reminder", self.after_s)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield Note("still here?")


def test_a_behaviour_is_called_after_its_class_in_kebab_case() -> None:
    assert ReminderTwice.name == "reminder-twice"


def test_it_handles_the_events_that_it_has_handlers_for() -> None:
    assert ReminderTwice.handled == {DialSucceeded: "on_dial_succeeded", TimerFired: "on_timer_fired"}


def test_a_subclass_handles_what_its_base_does_and_more() -> None:
    class ReminderAlways(ReminderTwice):
        def on_link_went_down(self, event: LinkWentDown) -> Actions:
            yield Note("and now this")

    assert ReminderAlways.name == "reminder-always"
    assert ReminderAlways.handled == {**ReminderTwice.handled, LinkWentDown: "on_link_went_down"}


def test_a_misspelt_handler_fails_at_import_and_the_message_lists_the_right_ones() -> None:
    with pytest.raises(TypeError) as caught:
        type("Typo", (Behaviour,), {"on_tos_change": lambda self, event: ()})
    assert str(caught.value).startswith("Typo.on_tos_change handles no event; there are: on_connect_requested, ")
    assert "on_tos_changed" in str(caught.value)


def test_every_event_has_a_handler() -> None:
    kinds = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)}
    assert set(HANDLERS.values()) == kinds - {Event}
    assert HANDLERS["on_tos_changed"] is TosChanged
    assert HANDLERS["on_link_went_down"] is LinkWentDown


@pytest.mark.parametrize(
    ("event", "want"),
    [
        (TosChanged, Want(Ability.TOS)),
        (ProbeArrived, Want(Ability.KEEPALIVE)),
        (ConnectRequested, Want(Ability.HANDSHAKE)),
        (InitiatorVanished, Want(Ability.HANDSHAKE)),
        (FinReceived, Want(Ability.CLOSE)),
        (RstReceived, Want(Ability.CLOSE)),
    ],
)
def test_a_handler_wants_the_ability_behind_its_event(event: type[Event], want: Want) -> None:
    handler = next(name for name, handled in HANDLERS.items() if handled is event)
    assert type("Curious", (Behaviour,), {handler: lambda self, event: ()})().wants() == {want: None}


def test_what_the_relay_itself_brings_about_takes_no_ability() -> None:
    assert set(ReminderTwice().wants()) == set()


@pytest.mark.parametrize("former", ["needs", "withheld_tos_bits"])
def test_a_former_way_to_say_it_is_an_error_that_names_the_new_one(former: str) -> None:
    with pytest.raises(TypeError, match=rf"Curious\.{former} has no effect; say it with wants\(\)"):
        type("Curious", (Behaviour,), {former: lambda self: set()})


def test_a_setting_knows_its_meaning_and_its_limits() -> None:
    (field,) = dataclasses.fields(ReminderTwice)
    assert field.default == 3.0
    assert field.metadata == {"doc": "how long to wait, in seconds", "low": 0, "high": None, "choices": (), "unit": ""}


@pytest.mark.parametrize("kind", installed_behaviours().values(), ids=lambda kind: kind.name)
def test_every_behaviour_that_comes_with_the_relay_is_documented(kind: type[Behaviour]) -> None:
    assert inspect.getdoc(kind)
    assert "Source:" in (kind.__doc__ or "")
    assert all(field.metadata["doc"] for field in dataclasses.fields(kind))  # type: ignore[arg-type]


def ends_of(name: str, default: str) -> dict[str, tuple[object, ...]]:
    """The settings that say how each side ends."""
    words = (default, "silence", "rst-on-next", "rst", "fin")
    return {f"{name}.internal": words, f"{name}.external": words, f"{name}.silence_s": (900.0, 1, 86_400)}


def test_every_setting_has_its_default_and_takes_these_values() -> None:
    """What profiles of other people's rely on."""
    taken: dict[str, tuple[object, ...]] = {}
    for kind in installed_behaviours().values():
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            limits = field.metadata
            taken[f"{kind.name}.{field.name}"] = (
                field.default,
                *(limits["choices"] or (limits["low"], limits["high"])),
            )
    assert taken == {
        "close-mapping.internal_rst": ("rst", "rst", "fin"),
        "close-mapping.external_rst": ("rst", "rst", "fin"),
        "close-mapping.half_close": ("pass", "pass", "close"),
        "close-mapping.timed_out": ("rst", "rst", "silence"),
        "close-mapping.silence_s": (900, 1, 86_400),
        "idle-timeout.after_s": (350.0, 0.001, 31_536_000),
        "idle-timeout.half_closed_s": (0.0, 0, 31_536_000),
        "idle-timeout.late_s": (0.0, 0, 86_400),
        "idle-timeout.counts": ("segments", "segments", "data"),
        "idle-timeout.refreshed_by": ("either", "either", "internal", "external"),
        "idle-timeout.internal": ("rst-on-next", "silence", "rst-on-next", "rst", "fin"),
        "idle-timeout.external": ("silence", "silence", "rst-on-next", "rst", "fin"),
        "idle-timeout.silence_s": (900.0, 1, 86_400),
        "lifetime-limit.after_s": (3600.0, 0.001, 31_536_000),
        "lifetime-limit.jitter_s": (0.0, 0, 86_400),
        **ends_of("lifetime-limit", "fin"),
        "link-down-reset.every_s": (0.0, 0, 31_536_000),
        "link-down-reset.jitter_s": (0.0, 0, 86_400),
        **ends_of("link-down-reset", "rst"),
        "refusal-mapping.silence_s": (130.0, 1, 86_400),
        **{
            f"refusal-mapping.{name}": ("as-is", "as-is", "refused", "silence")
            for name in ("refused", "unreachable", "timed_out", "not_resolved")
        },
        "latency.delay_s": (0.1, 0, 3600),
        "latency.jitter_s": (0.0, 0, 3600),
        "latency.direction": ("both", "both", "to-app", "to-server"),
        "bandwidth.rate_bytes_per_s": (1e6, 1, 1e10),
        "bandwidth.direction": ("both", "both", "to-app", "to-server"),
        "slicer.slice_bytes": (1, 1, 1_000_000),
        "slicer.pause_s": (0.01, 0, 3600),
        "slicer.variation_bytes": (0, 0, 1_000_000),
        "slicer.direction": ("both", "both", "to-app", "to-server"),
        "slow-close.delay_s": (1.0, 0, 3600),
        "slow-close.direction": ("both", "both", "to-app", "to-server"),
        "limit-data.after_bytes": (1_000_000, 0, 10**15),
        "limit-data.direction": ("to-app", "both", "to-app", "to-server"),
        **ends_of("limit-data", "fin"),
        "cut.after_bytes": (0, 0, 10**15),
        "cut.direction": ("to-app", "both", "to-app", "to-server"),
        "cut.after_s": (0.0, 0, 31_536_000),
        "cut.at_request": (0, 0, 10**9),
        "cut.how": ("rst", "rst", "fin", "stall"),
        "loss.share": (0.01, 0.0001, 0.5),
        "loss.segments_per_s": (100.0, 0.1, 1e6),
        "loss.timeout_s": (0.2, 0.01, 60),
        "loss.direction": ("both", "both", "to-app", "to-server"),
        "refuse.share": (1.0, 0, 1),
        "refuse.failure": ("refused", "refused", "unreachable", "timed-out", "not-resolved", "silence"),
        "refuse.silence_s": (130.0, 1, 86_400),
        "slow-dial.delay_s": (0.0, 0, 3600),
        "slow-dial.syn_share": (0.0, 0, 1),
        "slow-dial.by_s": (1.0, 0, 3600),
        "slow-dial.name_share": (0.0, 0, 1),
        "slow-dial.name_by_s": (5.0, 0, 3600),
        "stray-reset.share": (0.0, 0, 1),
        "stray-reset.within_s": (10.0, 0, 86_400),
        **ends_of("stray-reset", "rst"),
        "flow-limit.max_flows": (55_000, 1, 10_000_000),
        "flow-limit.per": ("destination", "destination", "relay"),
        "flow-limit.surplus": ("silence", "silence", "refuse"),
        "flow-limit.hold_after_fin_s": (0.0, 0, 86_400),
        "flow-limit.hold_after_rst_s": (0.0, 0, 86_400),
        "flow-limit.silence_s": (130.0, 1, 86_400),
        "pending-limit.max_pending": (10, 1, 65_535),
        "pending-limit.surplus": ("silence", "silence", "refuse", "wait"),
        "pending-limit.leaks": (False, None, None),
        "pending-limit.silence_s": (130.0, 1, 86_400),
        "local-ack.acknowledged_by": ("nat", "nat", "server"),
        "local-ack.buffer_bytes": (0, 0, 1 << 30),
        "local-keepalive.answered_by": ("nat", "nat", "server"),
        "local-keepalive.external_interval_s": (0, 0, 32_767),
        "local-keepalive.server_probes": (2, 1, 127),
        "precomplete-handshake.order": ("external-first", "external-first", "internal-first", "lockstep"),
        "precomplete-handshake.failed": ("rst", "rst", "fin"),
        "precomplete-handshake.dial_on": ("request", "request", "data"),
        "tos-reset.mask": (0xE0, 0x01, 0xFF),
        "tos-reset.external_close_delay_ms": (105, 0, 60_000),
        "tos-watch.mask": (0xFC, 0x01, 0xFF),
    }
