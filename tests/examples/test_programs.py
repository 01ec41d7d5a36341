"""Every example is run, by the tests' own user and by an ordinary one, and prints what its docstring promises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from support.capabilities import missing, need_program, need_root
from support.examples import EXAMPLES, assert_told, is_root, play
from support.programs import as_ordinary_user

RESET = r"\[\w+ \d+\] .+"  # Errno, or WinError


@pytest.fixture(params=["tester", "ordinary user"])
def prefix(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The command by which this user runs another."""
    return as_ordinary_user() if request.param == "ordinary user" and is_root() else ()


def need_linux() -> None:
    if sys.platform != "linux":
        missing("needs Linux")


def test_a_change_of_precedence_after_connecting_is_fatal_and_one_before_is_not(prefix: tuple[str, ...]) -> None:
    need_linux()
    assert_told(
        play("tos_before_and_after_connect.py", prefix=prefix),
        "TOS 0x48 is set +before connect +after connect",
        "transparent +works +works",
        "vmware-fusion +works +ECONNRESET",
        " +because of tos-reset; the server was sent FIN",
        "vmware-workstation-16 +works +works",
    )


def test_ssh_and_git_die_of_af21_cs1_and_live_with_lowdelay() -> None:
    need_linux()
    for program in ("sshd", "ssh", "git"):
        need_program(program)
    all_work = [
        f"  IPQoS={marking} +{name} +works" for marking in ("lowdelay", "af21 cs1") for name in ("ssh", "git clone")
    ]
    assert_told(
        play("ssh_and_git.py"),
        "transparent:",
        *all_work,
        "  4 connections, 0 ended by tos-reset",
        "vmware-fusion:",
        *all_work[:2],
        "  IPQoS=af21 cs1 +ssh +fails: .+",
        "  IPQoS=af21 cs1 +git clone +fails: .+",
        "  4 connections, 2 ended by tos-reset",
    )


def test_requests_finds_one_kind_of_reset_where_it_expects_another(prefix: tuple[str, ...]) -> None:
    assert_told(
        play("with_requests.py", prefix=prefix),
        "by socks5h: +hello from the server",
        "by http: +hello from the server",
        r"reset before the reply: +ConnectionError: \('Connection aborted.', ConnectionResetError\(.+\)\)",
        r"reset in the body: +ChunkedEncodingError: .*ConnectionResetError\(.+\)\)",
        "reset in the pool: +hello from the server",
        "6 connections, 3 reset by the relay",
    )


def test_httpx_calls_every_reset_a_read_error(prefix: tuple[str, ...]) -> None:
    assert_told(
        play("with_httpx.py", prefix=prefix),
        "by socks5h: +hello from the server",
        "by http: +hello from the server",
        r"reset before the reply: +ReadError\(.+\) from ConnectionResetError\(.+\)",
        r"reset in the body: +ReadError\(.+\) from ConnectionResetError\(.+\)",
        "reset in the pool: +hello from the server",
        "6 connections, 3 reset by the relay",
    )


def test_aiohttp_silently_asks_again_after_a_reset(prefix: tuple[str, ...]) -> None:
    assert_told(
        play("with_aiohttp.py", prefix=prefix),
        "by socks5: +hello from the server",
        "by http: +hello from the server",
        f"reset before the reply: +ClientOSError: {RESET}",
        r"reset in the body: +ClientPayloadError: .+ ConnectionResetError\(.+\)",
        "reset in the pool: +hello from the server",
        "6 connections, 4 reset by the relay",
    )


def test_the_three_of_them_talk_to_the_same_web_server() -> None:
    assert (EXAMPLES / "unlucky_web_server.py").exists()
    for name in ("with_requests.py", "with_httpx.py", "with_aiohttp.py"):
        assert "from unlucky_web_server import unlucky_web_server" in (EXAMPLES / name).read_text(encoding="utf-8")


def test_a_unittest_without_pytest_passes(prefix: tuple[str, ...]) -> None:
    done = play("test_with_unittest.py", prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == ("..." if sys.platform == "linux" else ".s."), done.stderr


Plays = dict[tuple[str, str], "Future[subprocess.CompletedProcess[str]]"]
_NAMESPACE = ("unshare", "-Urn", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")


@pytest.fixture(scope="module")
def waiting() -> Iterator[Plays]:
    """The plays that mostly wait, all at the same time."""
    users = {"tester": ()} | ({"ordinary user": as_ordinary_user(), "namespace": _NAMESPACE} if is_root() else {})
    with ThreadPoolExecutor(6) as pool:
        yield {
            (name, user): pool.submit(play, name, prefix=prefix)
            for name in ("keepalive_client.py", "heartbeat_client.py")
            for user, prefix in users.items()
        }


KEEPALIVE_TITLE = r"The server freezes\. The client's kernel is to give up after 3 s\."
FOUND_DEAD = r"transparent +ETIMEDOUT after \d s +\d probes came from the client"
LOOKS_ALIVE = r"vmware-fusion +up after 9 s +[6-9] probes came from the client"


@pytest.mark.parametrize("user", ["tester", "namespace"])
def test_keepalive_finds_a_dead_server_unless_the_nat_answers(waiting: Plays, user: str) -> None:
    need_root()
    assert_told(waiting["keepalive_client.py", user].result(), KEEPALIVE_TITLE, FOUND_DEAD, LOOKS_ALIVE)


def test_what_an_ordinary_user_cannot_freeze_is_left_out_and_said(waiting: Plays) -> None:
    need_root()
    done = waiting["keepalive_client.py", "ordinary user"].result()
    if done.stderr:
        assert_told(done, KEEPALIVE_TITLE, LOOKS_ALIVE, stderr="transparent +cannot be shown here: .+\n")
    else:  # older kernels let anybody attach a socket filter to TCP
        assert_told(done, KEEPALIVE_TITLE, FOUND_DEAD, LOOKS_ALIVE)


@pytest.mark.parametrize("user", ["tester", "ordinary user"])
def test_a_heartbeat_moves_on_where_keepalive_waits(waiting: Plays, user: str) -> None:
    if user == "ordinary user":
        need_root()
    at = r" *\d+\.\d s  "
    gone = f"{at}with a heartbeat: 2 pings without an answer, so it connects anew"
    done = waiting["heartbeat_client.py", user].result()
    times_gone = done.stdout.count("connects anew")
    assert 1 <= times_gone <= 3, done
    assert_told(
        done,
        f"{at}with keepalive alone: one",
        f"{at}with a heartbeat: one",
        f"{at}the server freezes",
        *[gone] * times_gone,
        f"{at}with keepalive alone: still waits, and sees nothing wrong",
        f"{at}the server is back",
        f"{at}with a heartbeat: two",
    )
