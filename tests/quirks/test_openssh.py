"""The failure that made people look: OpenSSH, unmodified, against a real sshd, and git over it.

OpenSSH marks its connection again once it has authenticated, and then by the second of the two values of `IPQoS` where
there is no terminal. With `af21 cs1`, its default since 7.8, that is another precedence than the SYN's.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import need_program
from support.programs import Sshd, clean_environment, run, sshd

OBSERVERS = ("ebpf", "socket-filter", "sock-diag")
DEFAULT = "IPQoS=af21 cs1"
CURES = ("IPQoS=lowdelay", "IPQoS=throughput", "IPQoS=none")
LOST = 255  # ssh's exit code when the connection failed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    for program in ("ssh", "nc", "git"):
        need_program(program)
    with sshd(tmp_path_factory.mktemp("sshd")) as it:
        yield it


Way = Callable[[RunningRelay, Sshd], tuple[int, tuple[str, ...]]]


@pytest.fixture(params=["forward", "socks5"])
def way(request: pytest.FixtureRequest) -> Way:
    """How ssh goes through the relay: the port to give it, and its options."""

    def forward(nat: RunningRelay, server: Sshd) -> tuple[int, tuple[str, ...]]:
        return nat.forward("127.0.0.1", server.port).port, ()

    def socks5(nat: RunningRelay, server: Sshd) -> tuple[int, tuple[str, ...]]:
        # nc hands the connected socket back, so that ssh owns it and marks it; through a pipe it could not.
        return server.port, ("ProxyUseFdpass=yes", f"ProxyCommand=nc -F -X 5 -x {nat.address} %h %p")

    return {"forward": forward, "socks5": socks5}[request.param]


def logins(server: Sshd) -> int:
    """How many clients the sshd has let in."""
    return server.log_file.read_text().count("Accepted publickey")


@pytest.mark.parametrize("observer", OBSERVERS)
def test_the_default_marking_dies_once_authenticated(backend: str, observer: str, way: Way, server: Sshd) -> None:
    with serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat:
        port, options = way(nat, server)
        before = logins(server)
        done = server.ssh(port, DEFAULT, *options)
        assert (done.returncode, done.stdout) == (LOST, "")
        assert logins(server) == before + 1
        ended = nat.wait_for("flow-ended", because="tos-reset")
        assert (ended.fields["internal"], ended.fields["external"]) == ("rst", "fin")


@pytest.mark.parametrize("observer", OBSERVERS)
def test_markings_of_the_same_precedence_work(backend: str, observer: str, way: Way, server: Sshd) -> None:
    with serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat:
        port, options = way(nat, server)
        with ThreadPoolExecutor(len(CURES)) as pool:
            done = list(pool.map(lambda cure: server.ssh(port, cure, *options), CURES))
        assert [(each.returncode, each.stdout) for each in done] == [(0, "it-lives\n")] * len(CURES)


@pytest.mark.parametrize("profile", ["vmware-workstation-16", "transparent"])
def test_the_default_marking_works_without_the_quirk(backend: str, profile: str, way: Way, server: Sshd) -> None:
    with serve_in_thread(profile, backend=backend) as nat:
        port, options = way(nat, server)
        done = server.ssh(port, DEFAULT, *options)
        assert (done.returncode, done.stdout) == (0, "it-lives\n"), done.stderr


def resets(nat: RunningRelay, flows: int) -> list[object]:
    """Why a RST was sent, each time, when so many flows have ended: their records come when their process is known."""
    for flow in range(1, flows + 1):
        nat.wait_for("flow-ended", flow=flow)
    return [record.fields["because"] for record in nat.events if record.event == "rst-sent"]


def test_the_default_marking_dies_every_time(backend: str, server: Sshd) -> None:
    with serve_in_thread("vmware-fusion", backend=backend, observer="ebpf") as nat:
        port = nat.forward("127.0.0.1", server.port).port
        before = logins(server)
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: server.ssh(port, DEFAULT), range(20)))
        assert [each.returncode for each in done] == [LOST] * 20
        assert logins(server) == before + 20
        assert resets(nat, flows=20) == ["tos-reset"] * 20


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit."""
    path = tmp_path_factory.mktemp("repository")
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-C", str(path))
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run([*git, *command], check=True, env=clean_environment())
    return path


def test_git_clone_over_ssh_dies_and_lives_likewise(
    backend: str, way: Way, server: Sshd, repository: Path, tmp_path: Path
) -> None:
    with serve_in_thread("vmware-fusion", backend=backend) as nat:
        port, options = way(nat, server)

        def clone(marking: str) -> subprocess.CompletedProcess[str]:
            command = shlex.join(["ssh", *server.arguments(marking, *options)])
            target = tmp_path / marking.replace(" ", "-")
            url = f"ssh://root@127.0.0.1:{port}{repository}"
            return run("git", "clone", "-q", url, str(target), env=clean_environment(GIT_SSH_COMMAND=command))

        before = logins(server)
        died = clone(DEFAULT)
        assert died.returncode == 128
        assert "Could not read from remote repository" in died.stderr
        assert logins(server) == before + 1
        nat.wait_for("flow-ended", because="tos-reset")
        lived = clone("IPQoS=lowdelay")
        assert lived.returncode == 0, lived.stderr
        assert (tmp_path / "IPQoS=lowdelay" / ".git" / "HEAD").exists()


@pytest.fixture(scope="module")
def marking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd in the guest that marks as OpenSSH does by default."""
    with sshd(tmp_path_factory.mktemp("marking-sshd"), DEFAULT) as it:
        yield it


@pytest.mark.parametrize("observer", OBSERVERS)
def test_a_marking_sshd_in_the_guest_dies_whatever_the_client_sets(
    backend: str, observer: str, marking_server: Sshd
) -> None:
    with serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat:
        port = nat.forward_inbound("127.0.0.1", marking_server.port).port
        before = logins(marking_server)
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda marking: marking_server.ssh(port, marking), (DEFAULT, *CURES)))
        assert [(each.returncode, each.stdout) for each in done] == [(LOST, "")] * 4
        assert logins(marking_server) == before + 4
        assert resets(nat, flows=4) == ["tos-reset"] * 4


@pytest.mark.parametrize("observer", OBSERVERS)
def test_a_client_outside_may_mark_as_it_likes(backend: str, observer: str, tmp_path: Path) -> None:
    with (
        sshd(tmp_path, "IPQoS=lowdelay") as guest,
        serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat,
    ):
        port = nat.forward_inbound("127.0.0.1", guest.port).port
        done = guest.ssh(port, DEFAULT)
        assert (done.returncode, done.stdout) == (0, "it-lives\n"), done.stderr
