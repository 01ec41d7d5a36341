from __future__ import annotations

from pathlib import Path

import greeter
import pytest

import relay
from relay.testing import RunningRelay


def test_the_installed_relay_is_used() -> None:
    assert "site-packages" in Path(relay.__file__).parts


def test_a_greeting_passes(nat_relay: RunningRelay, server: tuple[str, int]) -> None:
    with greeter.Client(*nat_relay.forward(*server)) as client:
        assert client.greet("ann") == "hello ann"
    nat_relay.assert_used()
    assert nat_relay.wait_for("flow-ended", because="internal-peer").fields["bytes_out"] == 4


def test_a_change_of_precedence_is_the_end(nat_relay: RunningRelay, server: tuple[str, int]) -> None:
    with greeter.Client(*nat_relay.forward(*server)) as client:
        client.greet("ann")
        client.mark(0x48)
        with pytest.raises(ConnectionError):
            client.greet("bob")
    nat_relay.wait_for(relay.EventType.FLOW_ENDED, because="tos-reset")


@pytest.mark.nat_relay(["vmware-fusion", "vmware-workstation-16", "transparent"])
def test_a_change_of_precedence_behind_three_nats(nat_relay: RunningRelay, server: tuple[str, int]) -> None:
    with greeter.Client(*nat_relay.forward(*server)) as client:
        client.greet("ann")
        client.mark(0x48)
        if nat_relay.profile.name == "vmware-fusion-11":
            with pytest.raises(ConnectionError):
                client.greet("bob")
        else:
            assert client.greet("bob") == "hello bob"


def test_what_a_user_of_the_nat_would_see(nat_relay: RunningRelay, server: tuple[str, int]) -> None:
    """Fails behind VMware's NAT; the report says why."""
    with greeter.Client(*nat_relay.forward(*server)) as client:
        client.greet("ann")
        client.mark(0x48)
        client.greet("bob")


@pytest.mark.nat_relay("transparent", moody={"share": 0.5})
@pytest.mark.parametrize("round_", range(4))
def test_moods(nat_relay: RunningRelay, server: tuple[str, int], round_: int) -> None:
    address = nat_relay.forward(*server)
    for flow in (1, 2):
        with greeter.Client(*address) as client:
            client.greet("ann")
            assert nat_relay.wait_for("note", flow=flow).fields["text"] == "liked"


def test_one_relay_for_all(nat_relay_session: RunningRelay, server: tuple[str, int]) -> None:
    with greeter.Client(*nat_relay_session.forward(*server)) as client:
        assert client.greet("ann") == "hello ann"
