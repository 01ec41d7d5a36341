"""What this host is said to give: chosen by self-tests, labelled where it falls short, refused if it was demanded."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from observe.conftest import REPOSITORY, Connect, EpollHost, readable, set_tos
from observe.watched import Calls
from relay.abilities import KINDS, Ability, Want
from relay.errors import ConfigError, Unsupported
from relay.observe import PROVIDERS, Failure, Fidelity, Target, observer_names, survey
from relay.observe.kernel.sock_diag import SockDiag
from relay.observe.providers.sock_diag import SockDiagProvider, SockDiagWatch
from relay.observe.self_test import tos_self_test


@pytest.fixture
def _privileged(require: Callable[..., None]) -> None:
    require("linux", "cap_bpf", "cap_net_admin", "cap_net_raw")


@pytest.mark.usefixtures("_privileged")
def test_with_every_privilege_all_is_exact_but_what_the_server_alone_is_to_acknowledge() -> None:
    found = survey()
    assert set(found.support) == set(KINDS)
    short = [fact for fact, support in found.support.items() if support.fidelity is not Fidelity.EXACT]
    assert short == [Want(Ability.KEEPALIVE_ANSWER, by="server"), Want(Ability.ACK, by="server")]
    assert found.support[Want(Ability.TOS)].provider == "ebpf"
    assert found.support[Want(Ability.KEEPALIVE)].provider == "tcp-info"


@pytest.mark.usefixtures("_privileged")
def test_an_observer_is_forced_for_the_facts_it_supplies() -> None:
    forced = survey("sock-diag")
    assert forced.support[Want(Ability.TOS)].provider == "sock-diag"
    assert forced.support[Want(Ability.TOS)].fidelity is Fidelity.APPROXIMATE
    assert forced.support[Want(Ability.KEEPALIVE)].provider == "tcp-info"
    assert survey("tcp-info").support[Want(Ability.TOS)].provider == "ebpf"
    assert survey("ebpf").support == survey().support
    filtered = survey("socket-filter").support[Want(Ability.TOS)]
    assert (filtered.provider, filtered.fidelity) == ("socket-filter", Fidelity.EXACT)


def test_no_observer_at_all_leaves_nothing_seen(host: EpollHost, connect: Connect) -> None:
    nothing = survey("none")
    for want in (Want(Ability.TOS), Want(Ability.KEEPALIVE)):
        assert nothing.support[want].fidelity is Fidelity.IMPOSSIBLE
        assert "--observer none" in nothing.support[want].remedy
    observers = nothing.open(host)
    assert observers.of(Want(Ability.TOS)) is None
    assert observers.of(Want(Ability.KEEPALIVE)) is None
    _, accepted = connect()
    assert not observers.blackhole(accepted, True)
    observers.close()


def test_an_unknown_observer_is_a_wrong_setting_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"--observer.*'socket-fliter'") as caught:
        survey("socket-fliter")
    assert "did you mean 'socket-filter'?" in caught.value.hint
    assert all(f"{name} (" in caught.value.hint for name in observer_names())


@pytest.mark.parametrize(
    ("word", "meant"),
    [("bpf", "ebpf"), ("tcpdump", "socket-filter"), ("netlink", "sock-diag"), ("ss", "sock-diag"), ("off", "none")],
)
def test_an_observer_is_suggested_by_what_it_is_for(word: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        survey(word)
    assert caught.value.hint.startswith(f"did you mean {meant!r}? there are: ebpf (TOS bytes of any peer, ")


def test_a_word_that_means_nothing_gets_no_guess() -> None:
    with pytest.raises(ConfigError) as caught:
        survey("nonsense")
    assert caught.value.hint.startswith("there are: ebpf (")


@pytest.mark.usefixtures("_privileged")
def test_the_chosen_observers_run(host: EpollHost, connect: Connect) -> None:
    observers = survey().open(host)
    client, accepted = connect()
    seen: list[int | None] = []
    tos, keepalive = observers.of(Want(Ability.TOS)), observers.of(Want(Ability.KEEPALIVE))
    assert tos is not None
    assert keepalive is not None
    assert tos.attach(Target(accepted, 0, 0xE0, Calls(seen.append))) is not None
    assert keepalive.attach(Target(accepted)) is not None
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(lambda: seen == [0x48])
    observers.close()
    assert host.pending == 0


@pytest.mark.usefixtures("_privileged")
def test_a_blackholed_socket_hears_nothing_and_answers_nothing(host: EpollHost, connect: Connect) -> None:
    observers = survey().open(host)
    client, accepted = connect()
    assert observers.blackhole(accepted, True)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
    client.send(b"x")
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert readable(accepted) == b""
    observers.close()


class BlindWatch(SockDiagWatch):
    """Claims to watch and sees nothing."""

    def ask(self) -> int | None:
        return None


class DullWatch(SockDiagWatch):
    """Sees what was changed before, and nothing later."""

    def __init__(self, diag: SockDiag, question: bytes, syn_tos: int) -> None:
        super().__init__(diag, question, syn_tos)
        self._seen = super().ask()

    def ask(self) -> int | None:
        return self._seen


def seeing_by(watch: type[SockDiagWatch], monkeypatch: pytest.MonkeyPatch) -> Failure | None:
    """How a provider fares whose watches are of this kind."""
    with monkeypatch.context() as patch:
        patch.setattr("relay.observe.providers.sock_diag.SockDiagWatch", watch)
        return tos_self_test(SockDiagProvider, withholds=False)


@pytest.mark.usefixtures("_privileged")
def test_the_self_test_tells_a_working_provider_from_a_blind_or_leaky_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [provider.name for provider in PROVIDERS if provider.self_test() is not None] == ["in-process"]
    assert seeing_by(BlindWatch, monkeypatch) == Failure("TOS 0x48 right behind a SYN with 0 was not seen")
    assert seeing_by(DullWatch, monkeypatch) == Failure("TOS 0x48 after a SYN with 0 was not seen")
    assert tos_self_test(SockDiagProvider, withholds=True) == Failure("what should be withheld was readable")


AS_ORDINARY_USER = """
import os
from relay.errors import Unsupported
from relay.observe import survey
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    survey("socket-filter")
except Unsupported as fault:
    print(fault.exit_code, fault, "|", fault.hint)
"""


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.system
def test_an_observer_that_is_demanded_and_cannot_be_had_is_refused_with_the_remedy(
    require: Callable[..., None],
) -> None:
    require("linux", "root")
    message, _, hint = run(AS_ORDINARY_USER).partition(" | ")
    assert message.startswith("3 --observer: socket-filter does not work here: ")
    assert "CAP_NET_ADMIN" in message
    assert "setcap" not in hint
    assert "BPF --cap-add NET_ADMIN" in hint or "--ambient-caps +bpf,+net_admin" in hint


ELSEWHERE = """
import socket, sys
{platform}
for name in ("AF_NETLINK", "AF_PACKET", "NETLINK_ROUTE", "TCP_INFO", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "SO_MARK"):
    if hasattr(socket, name):
        delattr(socket, name)
from relay.errors import Unsupported
from relay.abilities import KINDS, Ability, Want
from relay.observe import observer_names, owner_of, save_syn, survey, syn_of
found = survey()
for want in KINDS:
    support = found.support[want]
    assert support.how and support.provider, want
    if support.fidelity.value == "impossible":
        assert support.provider == "none" and support.remedy, want
    print(want.title, support.fidelity.value)
with socket.create_server(("127.0.0.1", 0)) as listener:
    save_syn(listener)
    with socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            syn_of(accepted)
            owner_of(accepted)
for name in observer_names():
    try:
        survey(name)
    except Unsupported as fault:
        assert fault.hint
        print("refused", name)
"""


@pytest.mark.system
def test_on_a_system_without_any_of_it_everything_is_labelled() -> None:
    lines = run(ELSEWHERE.format(platform="sys.platform = 'darwin'")).splitlines()
    assert lines == [
        "TOS byte impossible",
        "keepalive probe impossible",
        "answer to a keepalive probe by the NAT approximate",
        "answer to a keepalive probe by the server approximate",
        "probe of the server approximate",
        "handshake order exact",
        "FIN and RST approximate",
        "acknowledgement by the NAT exact",
        "acknowledgement by the server approximate",
        "unanswered probe approximate",
        "idle time without data exact",
        "idle time without a segment approximate",
        "silence of a forgotten connection approximate",
        "RST of a forgotten connection approximate",
        "refused ebpf",
        "refused socket-filter",
        "refused sock-diag",
        "refused in-process",
        "refused tcp-info",
        "refused tcp-repair",
    ]


@pytest.mark.system
@pytest.mark.usefixtures("_privileged")
def test_without_netlink_and_packet_sockets_the_filter_alone_still_serves() -> None:
    lines = run(ELSEWHERE.format(platform="")).splitlines()
    assert "keepalive probe exact" in lines
    assert "refused sock-diag" in lines


def test_unsupported_is_never_raised_by_a_survey_that_demands_nothing() -> None:
    try:
        survey()
    except Unsupported as fault:
        pytest.fail(str(fault))
