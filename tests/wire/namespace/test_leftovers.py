"""Whatever is killed, nothing is left behind: no process, no device, no network namespace, no mount."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.wire.namespace.trial import PROCESSES
from support.capabilities import need_program
from support.guests import (
    USERS,
    guest_command,
    kill,
    processes_with,
    run_guest,
    started_guest,
    wait_for_processes,
)
from support.programs import RELAY, as_ordinary_user, run

pytestmark = pytest.mark.system

_numbers = itertools.count(10**10 + os.getpid() * 1000)  # another test run's are others


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def mark() -> Iterator[str]:
    """What the command lines of this test's own processes have, and no others."""
    number = next(_numbers)
    yield str(number)
    for pid in processes_with(str(number)):
        kill(pid)


def family(mark: str, end: str = "wait") -> tuple[str, ...]:
    """A command with a child, a grandchild whose parent is gone, and one in a session of its own."""
    script = f"sleep {mark} & (sleep {mark} &) ; setsid sh -c 'sleep {mark} & sleep {mark}' & {end} # {mark}"
    return ("sh", "-c", script)


def beginning(mark: str, words: str) -> list[int]:
    """The processes among this test's whose command line begins so, the oldest first."""
    return sorted(pid for pid, line in processes_with(mark).items() if line.startswith(words))


def helper_of(mark: str) -> int:
    return min(pid for pid, line in processes_with(mark).items() if "-I -S -c" in line)  # beside one that it has forked


def wait_for_family(mark: str) -> None:
    """Wait for: the program, the helper, init, the shell, the other session's shell, and four that sleep."""
    wait_for_processes(mark, 9)


def test_when_the_relay_is_killed_all_is_gone(user: str, mark: str) -> None:
    with started_guest(guest_command(*family(mark), user=user)) as process:
        wait_for_family(mark)
        networks = {Path(f"/proc/{pid}/ns/net").readlink() for pid in beginning(mark, "sleep")}
        process.kill()
        wait_for_processes(mark, 0)
    assert len(networks) == 1
    left = [each for each in Path("/proc").glob("[0-9]*/ns/net") if _network(each) in networks]
    assert left == []


def test_when_the_command_is_killed_all_is_gone(user: str, mark: str) -> None:
    with started_guest(guest_command(*family(mark), user=user)) as process:
        wait_for_family(mark)
        kill(beginning(mark, "sh -c sleep")[0])
        assert process.wait(60) == 128 + signal.SIGKILL
        assert processes_with(mark) == {}


def test_when_the_helper_is_killed_all_is_gone(user: str, mark: str) -> None:
    with started_guest(guest_command(*family(mark), user=user)) as process:
        wait_for_family(mark)
        kill(helper_of(mark))
        assert process.wait(60) == 128 + signal.SIGKILL
        wait_for_processes(mark, 0)


def test_when_relay_and_helper_are_killed_at_once_all_is_gone(user: str, mark: str) -> None:
    with started_guest(guest_command(*family(mark), user=user)) as process:
        wait_for_family(mark)
        helper = helper_of(mark)
        process.send_signal(signal.SIGSTOP)
        kill(helper)
        process.kill()
        wait_for_processes(mark, 0)


def test_a_host_whose_proc_cannot_be_mounted_leaves_nothing_behind_either(mark: str) -> None:
    """As in some containers, where parts of /proc are covered: the command has no PID namespace then."""
    covered = 'mount -t tmpfs none /proc/sys/fs && exec "$@"'
    inside = [need_program("unshare"), "--mount", "sh", "-c", covered, "sh"]
    done = run_guest([*inside, *guest_command("sh", "-c", "echo $$; exit 5", user="ordinary user")])
    assert done.returncode == 5, done.stderr
    assert int(done.stdout) > 100, "it has this host's number"
    told = json.loads(run(*inside, *as_ordinary_user(), *RELAY, "doctor", "--json").stdout)["commands"][PROCESSES]
    assert told["fidelity"] == "approximate"
    assert "/proc cannot be mounted here" in told["how"]
    with started_guest([*inside, *guest_command(*family(mark), user="ordinary user")]) as process:
        wait_for_processes(mark, 8)
        process.kill()
        wait_for_processes(mark, 0)


def test_when_the_command_ends_what_it_had_started_is_gone(user: str, mark: str) -> None:
    assert run_guest(guest_command(*family(mark, "exit 5"), user=user)).returncode == 5
    assert processes_with(mark) == {}


def test_a_mount_of_the_helper_s_is_not_seen_outside(user: str) -> None:
    before = Path("/proc/self/mounts").read_text()
    with started_guest(guest_command("cat", user=user), stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("it runs\n")
        process.stdin.flush()
        assert process.stdout.readline() == "it runs\n"
        assert Path("/proc/self/mounts").read_text() == before


def _network(entry: Path) -> Path | None:
    try:
        return entry.readlink()
    except OSError:
        return None
