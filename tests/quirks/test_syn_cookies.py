"""Where the kernel forgets each SYN, by SYN cookies, nothing is reset for a reference that was guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from quirks.test_tos_reset import LIVES, OBSERVERS, RESET_BY_LAST, Row, outcome
from relay.observe import Failure, Syn
from relay.observe.providers.ebpf import EbpfProvider
from relay.observe.providers.sock_diag import SockDiagProvider
from relay.observe.providers.socket_filter import SocketFilterProvider
from relay.observe.self_test import tos_self_test
from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import need_root
from support.clients import connect
from support.namespaces import in_own_network
from support.origins import Origin, echo

ALIKE: Row = (0x48, 0x48, 0x48)


@pytest.fixture(params=OBSERVERS)
def observer(request: pytest.FixtureRequest) -> str:
    need_root()
    name: str = request.param
    return name


def always_answer_with_cookies() -> None:
    """In the network namespace that this thread is in."""
    Path("/proc/sys/net/ipv4/tcp_syncookies").write_text("2")


def outcomes(nat: RunningRelay, rows: tuple[Row, ...]) -> list[str]:
    with Origin(echo) as origin:
        return [outcome(row, lambda tos: connect(nat, "forward", origin.host, origin.port, tos=tos)) for row in rows]


def test_the_segment_behind_a_syn_that_was_forgotten_is_the_reference(backend: str, observer: str) -> None:
    rows = (*[ALIKE] * 20, *LIVES, *RESET_BY_LAST)

    def judge() -> tuple[list[str], list[int | None]]:
        always_answer_with_cookies()
        with serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat:
            ended = outcomes(nat, rows)
            flows = range(1, len(rows) + 1)
            return ended, [nat.wait_for("syn-unknown", flow=flow).fields["reference"] for flow in flows]

    ended, references = in_own_network(judge)
    assert ended[: -len(RESET_BY_LAST)] == ["lives"] * (20 + len(LIVES))
    assert ended[-len(RESET_BY_LAST) :] == [f"ConnectionResetError at {len(row) - 1}" for row in RESET_BY_LAST]
    assert references == [row[0] for row in rows]


def test_without_any_reference_nothing_is_reset(backend: str, observer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.observe._api.syn_of", lambda _: Syn(None, kept=False))
    with serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat:
        assert set(outcomes(nat, (ALIKE, *RESET_BY_LAST))) == {"lives"}
        nat.wait_for("syn-unknown", reference=None)


@pytest.mark.parametrize("provider", [EbpfProvider, SocketFilterProvider, SockDiagProvider])
def test_a_provider_can_be_had_there(
    provider: type[EbpfProvider] | type[SocketFilterProvider] | type[SockDiagProvider],
) -> None:
    def try_it() -> Failure | None:
        always_answer_with_cookies()
        return tos_self_test(provider, withholds=provider is not SockDiagProvider)

    assert in_own_network(try_it) is None
