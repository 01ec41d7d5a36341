"""A command in a network of its own: what it sees there, and how it ends."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.capabilities import need_program
from support.guests import USERS, environment, guest_command, run_guest, started_guest, with_open_tun

pytestmark = pytest.mark.system

UID = {"root": 0, "ordinary user": 65534}
PING = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)"
RAW = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)"


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def said(script: str, user: str, *options: str) -> list[str]:
    """The lines that a shell's script writes there."""
    done = run_guest(guest_command("sh", "-c", script, user=user, options=options))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_it_has_the_guest_s_address_and_routes_and_no_other_device(user: str) -> None:
    need_program("ip")
    told = said("ip -br address; ip route", user)
    assert [" ".join(line.split()).replace("eth0@if3 UP", "eth0 UNKNOWN") for line in told] == [
        "lo UNKNOWN 127.0.0.1/8 ::1/128",
        "eth0 UNKNOWN 192.168.27.128/24",
        "default via 192.168.27.2 dev eth0",
        "192.168.27.0/24 dev eth0 proto kernel scope link src 192.168.27.128",
    ]


@pytest.mark.parametrize("kind", ["tun", "pair"])
def test_either_kind_of_device_can_be_had(user: str, kind: str) -> None:
    need_program("ip")
    done = run_guest(with_open_tun(guest_command("ip", "link", "show", "eth0", user=user, options=[kind])))
    assert ("link/none" if kind == "tun" else "link/ether 00:0c:29") in done.stdout, done.stderr


def test_its_name_server_is_the_nat(user: str) -> None:
    assert said("cat /etc/resolv.conf", user) == ["nameserver 192.168.27.2"]
    assert "192.168.27.2" not in Path("/etc/resolv.conf").read_text()


def test_it_keeps_user_directory_and_environment(user: str, tmp_path: Path) -> None:
    more = {"SOME_NAME": "a value\nof two lines", "PYTHONWARNINGS": "error"}
    command = guest_command("sh", "-c", 'id -u; id -g; pwd; echo "$SOME_NAME"; echo $PYTHONWARNINGS', user=user)
    done = run_guest(command, env=environment() | more, cwd="/usr")
    uid = UID[user]
    assert done.stdout == f"{uid}\n{uid}\n/usr\na value\nof two lines\nerror\n", done.stderr


def test_it_sees_itself_as_root_if_that_is_wished_for(user: str) -> None:
    assert said("id -u; id -g", user, "map-root") == ["0", "0"]
    assert run_guest(guest_command("python3", "-c", RAW, user=user, options=["map-root"])).stderr == ""


def test_an_ordinary_user_has_no_capabilities_there_but_may_ping() -> None:
    status = said("grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status", "ordinary user")
    assert {line.split()[1] for line in status} == {"0" * 16}
    python = ("/usr/bin/python3", "-c")
    assert run_guest(guest_command(*python, PING, user="ordinary user")).stderr == ""
    assert "PermissionError" in run_guest(guest_command(*python, RAW, user="ordinary user")).stderr


def test_descriptors_that_a_shell_has_passed_on_are_passed_on() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe of the caller's\n")
    os.close(writer)
    done = run_guest(guest_command("cat", f"/dev/fd/{reader}"), pass_fds=(reader,))
    os.close(reader)
    assert done.stdout == "through a pipe of the caller's\n"


def test_it_has_no_descriptor_of_the_relay_s() -> None:
    """Not either of another command's: two networks are opened, the second one's command looks."""
    assert said("ls /proc/self/fd", "root", "after-another") == ["0", "1", "2", "3"]  # the last is of ls itself


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_its_exit_status_is_passed_on(user: str, status: int) -> None:
    assert run_guest(guest_command("sh", "-c", f"exit {status}", user=user)).returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_that_killed_it_is_reported_as_a_shell_does(user: str, number: signal.Signals) -> None:
    command = guest_command("sh", "-c", f"kill -{int(number)} $$", user=user)
    assert run_guest(command).returncode == 128 + number


def test_what_it_cannot_run_is_named(user: str) -> None:
    path = environment() | {"PATH": "/usr/bin:/bin"}  # without directories that only root may enter
    for name, shown in (("no-such-program", "no-such-program"), ("", "''")):
        missing = run_guest(guest_command(name, user=user), env=path)
        assert (missing.returncode, missing.stderr) == (
            127,
            f"relay: cannot run {shown}: no such file or directory\nhint: is it installed, and on PATH?\n",
        )
    directory = run_guest(guest_command("/usr", user=user))
    assert (directory.returncode, directory.stderr) == (
        126,
        "relay: cannot run /usr: permission denied\nhint: name a program, which its user may execute\n",
    )


def test_python_s_own_signal_settings_are_not_passed_on() -> None:
    """A reader that leaves ends `yes` by SIGPIPE, which Python ignores."""
    assert said("yes | head -1; grep -E 'Sig(Blk|Ign)' /proc/self/status", "root") == [
        "y",
        f"SigBlk:\t{'0' * 16}",
        f"SigIgn:\t{'0' * 16}",
    ]


def test_an_interrupt_from_the_terminal_reaches_it_and_the_relay_waits(user: str) -> None:
    ours, its = os.openpty()
    script = 'trap "echo interrupted; exit 42" INT; tty; echo ready; while :; do sleep 0.05; done'
    command = ("setsid", "--wait", "--ctty", *guest_command("sh", "-c", script, user=user))
    with started_guest(command, stdin=its, stdout=its, stderr=its) as process:
        told = b""
        while b"ready" not in told:
            told += os.read(ours, 1024)
        assert told.startswith(os.ttyname(its).encode())
        os.write(ours, b"\x03")
        assert process.wait(60) == 42
        assert b"interrupted" in os.read(ours, 1024)
    os.close(ours)
    os.close(its)


def test_it_sees_the_processes_that_it_has_started_and_no_others(user: str) -> None:
    """Itself, and the first of its namespace, which is no shell's."""
    told = said("ps -eo pid=,comm=; readlink /proc/self", user)
    assert [line.split()[1] for line in told[:-1]] == [told[0].split()[1], "sh", "ps"]
    assert told[0].split()[0] == "1"
    assert told[0].split()[1].startswith("python")
    assert int(told[-1]) < 10


class Shell:
    """An interactive bash on a terminal of its own."""

    def __init__(self) -> None:
        process, self._terminal = pty.fork()
        if process == 0:
            os.environ.update(environment() | {"PS1": "OUT> ", "TERM": "dumb"})
            os.execvp("bash", ["bash", "--norc", "-i"])  # noqa: S606 - a shell is what this is about
        self.process = process
        self.told = ""

    def types(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def until(self, words: str, *, timeout_s: float = 60.0) -> str:
        """All that is on the terminal since the last call, once these words are."""
        deadline_s = time.monotonic() + timeout_s
        while words not in self.told:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline_s - time.monotonic()))
            assert ready, f"no {words!r} in {self.told!r}"
            self.told += os.read(self._terminal, 4096).decode()
        before, found, self.told = self.told.partition(words)
        return before + found

    def wait_for_stops(self, *, timeout_s: float = 60.0) -> None:
        """Wait until all that the test runs in this session has stopped, or ended and its parent has stopped.

        The shell waits for its own children alone. Under load one of theirs may still be in a read of the terminal, and
        take what is typed next.
        """
        deadline_s = time.monotonic() + timeout_s
        while any(state not in "TZ" for state in self._states("sh", "ps", "cat")):
            assert time.monotonic() < deadline_s, "a program of the stopped job runs"
            time.sleep(0.01)  # other processes' children cannot be waited on

    def _states(self, *names: str) -> Iterator[str]:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(") ")
                state, _, _, session, *_ = rest.split()
                if name in names and int(session) == self.process:
                    yield state

    def close(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self._terminal)


@pytest.fixture
def shell() -> Iterator[Shell]:
    it = Shell()
    yield it
    it.close()


def stop_and_continue(shell: Shell, words: str) -> None:
    """Stop the shell's job, of these words, and have it go on in the foreground."""
    shell.types("\x1a")
    shell.until("Stopped")
    shell.until("> ")
    shell.wait_for_stops()
    shell.types("fg\n")
    shell.until(words)


def echoed(shell: Shell, text: str) -> None:
    """Type something for `cat` to repeat."""
    shell.types(f"{text}\n")
    shell.until(text)
    shell.until(text)


def test_it_is_a_job_of_the_shells_like_any_other(user: str, shell: Shell) -> None:
    """Ctrl-Z stops it and the shell says so; it goes on in the foreground, and Ctrl-C ends it."""
    shell.until("> ")
    shell.types(shlex.join(guest_command("sh", "-c", "echo be'gun'; exec cat", user=user)) + "\n")
    shell.until("begun")
    stop_and_continue(shell, "exec cat")
    echoed(shell, "typed")
    shell.types("\x03")
    shell.until("> ")
    shell.types("echo st''atus $?\n")
    shell.until("status 130")


@pytest.mark.parametrize("inner", ["dash", "bash --norc"])
def test_a_shell_in_it_has_jobs_of_its_own_and_its_exit_status_is_passed_on(shell: Shell, inner: str) -> None:
    shell.until("> ")
    shell.types(f"PS1='IN''> ' {shlex.join(guest_command(*inner.split(), '-i'))}\n")
    shell.until("IN> ")
    shell.types("sh -c 'echo be''gun; exec cat'\n")
    shell.until("begun")
    stop_and_continue(shell, "exec cat")
    echoed(shell, "typed")
    shell.types("\x03")
    shell.until("IN> ")
    shell.types("exit 3\n")
    assert "Cannot" not in shell.until("OUT> ")
    shell.types("echo st''atus $?\n")
    shell.until("status 3")


def test_it_shares_the_terminal_with_the_others_of_a_pipeline(shell: Shell) -> None:
    shell.until("> ")
    words = shlex.join(guest_command("sh", "-c", "ps -o pgid= -p $$; exec cat"))
    shell.types(f"{words} | (cat; echo st''atus)\n")
    shell.until("      0")
    stop_and_continue(shell, "exec cat")
    echoed(shell, "typed")
    shell.types("\x04")
    shell.until("status")


def test_its_input_and_output_are_the_caller_s(user: str) -> None:
    done = run_guest(guest_command("sh", "-c", "cat; echo complaint >&2", user=user), input="typed\n")
    assert (done.stdout, done.stderr) == ("typed\n", "complaint\n")
