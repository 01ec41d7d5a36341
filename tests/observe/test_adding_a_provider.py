"""A new provider is one class and its place in the tuple: survey, `doctor`, `--observer` and a relay know it then."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

import pytest

from relay.abilities import Ability, Want
from relay.cli.main import run
from relay.errors import ConfigError, Unsupported
from relay.observe import PROVIDERS, Failure, Fidelity, Host, Offer, Provider, Support, Target, Watch, survey
from relay.testing import serve_in_thread
from support.clients import connect
from support.origins import Origin, echo

TOS, BLACKHOLE = Want(Ability.TOS), Want(Ability.BLACKHOLE)
HOW = "every first read is a change"


class ToyWatch(Watch):
    """Makes up one change of TOS byte."""

    asks = True

    def __init__(self) -> None:
        self._new: int | None = 0x48

    def ask(self) -> int | None:
        new, self._new = self._new, None
        return new


class ToyProvider(Provider):
    """Gives two abilities, one of them better than any other does."""

    name: ClassVar[str] = "toy"
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {TOS: Offer(Fidelity.APPROXIMATE, HOW), BLACKHOLE: Offer(Fidelity.EXACT, HOW)}
    )
    requirement: ClassVar[str] = "wind it up"
    failure: ClassVar[Failure | None] = None
    calls: ClassVar[list[str]] = []

    def __init__(self, host: Host) -> None:
        self.calls.append("open")

    @classmethod
    def self_test(cls) -> Failure | None:
        return cls.failure

    def cover(self, listener: socket.socket, mask: int) -> None:
        self.calls.append(f"cover 0x{mask:02x}")

    def attach(self, target: Target) -> ToyWatch | None:
        return ToyWatch() if target.syn_tos is not None else None

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture(params=["first", "last"])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[ToyProvider]:
    """A toy that was put before all others, or behind them."""
    providers = (ToyProvider, *PROVIDERS) if request.param == "first" else (*PROVIDERS, ToyProvider)
    monkeypatch.setattr(importlib.import_module("relay.observe.survey"), "PROVIDERS", providers)
    monkeypatch.setattr(ToyProvider, "calls", [])
    monkeypatch.setattr("relay.wire.namespace.trial.find_support", _no_support)
    return ToyProvider


async def _no_support() -> dict[str, Support]:
    """In place of a trial, which starts a program."""
    return {}


@pytest.mark.parametrize("toy", ["first"], indirect=True)
def test_it_is_chosen_in_its_turn(toy: type[ToyProvider], capsys: pytest.CaptureFixture[str]) -> None:
    assert survey().of(TOS) == Support(Fidelity.APPROXIMATE, "toy", HOW)
    assert survey().of(BLACKHOLE) == Support(Fidelity.EXACT, "toy", HOW)
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out.count("here, through toy\n") == 2


def test_it_can_be_forced(toy: type[ToyProvider], capsys: pytest.CaptureFixture[str]) -> None:
    assert survey("toy").of(TOS) == Support(Fidelity.APPROXIMATE, "toy", HOW, "leave --observer out")
    assert survey("none").of(TOS).provider == "none"
    assert run(["doctor", "--observer", "toy"]) == 0
    assert capsys.readouterr().out.count("here, through toy\n") == 2
    with pytest.raises(ConfigError, match="there is no observer 'tpy'") as unknown:
        survey("tpy")
    assert "did you mean 'toy'?" in unknown.value.hint


def test_its_failure_is_reported_with_its_remedy(
    toy: type[ToyProvider], monkeypatch: pytest.MonkeyPatch, require: Callable[..., None]
) -> None:
    require("linux")
    monkeypatch.setattr(toy, "failure", Failure("it has run down"))
    with pytest.raises(Unsupported, match="--observer: toy does not work here: it has run down") as demanded:
        survey("toy")
    assert demanded.value.hint == "wind it up"
    assert survey().of(TOS).provider != "toy"


def test_a_relay_runs_it(toy: type[ToyProvider], backend: str) -> None:
    with (
        Origin(echo) as origin,
        serve_in_thread("vmware-fusion", backend=backend, observer="toy") as nat,
        connect(nat, "forward", origin.host, origin.port) as app,
    ):
        app.sendall(b"x")
        assert nat.wait_for("flow-ended").fields["because"] == "tos-reset"
    assert (toy.calls[0], toy.calls[-1]) == ("open", "close")
    assert "cover 0xe0" in toy.calls
