"""A host that does not let a command have a network of its own: one line that names the switch, and a remedy."""

from __future__ import annotations

import errno

import pytest

from relay.wire.namespace.helper import Answer
from relay.wire.namespace.refusals import refusal
from support.capabilities import need_program
from support.guests import guest_command, run_guest, with_open_tun


def worded(step: str, number: int, files: dict[str, str] | None = None, file: str = "") -> list[str]:
    """The message and the hint, on a host with these files."""
    error = refusal(Answer(step=step, number=number, file=file), read=(files or {}).get)
    assert error.exit_code == 3
    return [str(error), error.hint]


@pytest.mark.parametrize(
    ("file", "value", "setting"),
    [
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor_restrict_unprivileged_userns=0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
    ],
)
@pytest.mark.parametrize("step", ["user", "mapping", "namespaces"])
def test_the_switch_that_forbids_user_namespaces_is_named(step: str, file: str, value: str, setting: str) -> None:
    message, hint = worded(step, errno.EPERM, {file: value})
    assert message == (f"kernel.{setting.partition('=')[0]} is {value}: this host forbids user namespaces")
    assert hint.startswith(f"sudo sysctl -w kernel.{setting}, or run it with sudo, or use what needs none")


def test_a_switch_that_allows_them_is_not_named() -> None:
    allowing = {
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0",
        "/proc/sys/kernel/unprivileged_userns_clone": "1",
        "/proc/sys/user/max_user_namespaces": "96365",
    }
    message, hint = worded("user", errno.EPERM, allowing)
    assert message == "this host forbids new namespaces (user): operation not permitted"
    assert "--cap-add SYS_ADMIN" in hint


@pytest.mark.parametrize(
    ("step", "number", "file", "message"),
    [
        (
            "device",
            errno.EOPNOTSUPP,
            "",
            "this host gives the command neither a TUN device nor a pair of Ethernet devices: operation not",
        ),
        ("files", errno.ENOENT, "/etc/resolv.conf", "/etc/resolv.conf cannot be covered: no such file"),
        ("files", errno.EACCES, "", "a file cannot be covered: permission denied"),
        ("network", errno.EINVAL, "", "the command's network cannot be set up (network): invalid argument"),
        ("namespaces", errno.ENOSPC, "", "no more namespaces are allowed here, by user.max_net_namespaces"),
    ],
)
def test_every_step_has_its_words(step: str, number: int, file: str, message: str) -> None:
    told, hint = worded(step, number, file=file)
    assert told.startswith(message)
    assert hint


@pytest.mark.system
def test_where_no_user_namespaces_are_left_the_limit_is_named() -> None:
    """The limit is set in a user namespace of the test's own, and the relay lacks the capability to do without."""
    unshare, setpriv = need_program("unshare"), need_program("setpriv")
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    without = (setpriv, "--inh-caps=-all", "--bounding-set=-all")
    command = guest_command("true")
    done = run_guest([unshare, "--user", "--map-root-user", "sh", "-c", limit, "sh", *without, *command])
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == ("relay: no more namespaces are allowed here, by user.max_user_namespaces")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.system
def test_a_file_that_is_missing_is_named() -> None:
    """A tmpfs over /etc hides it."""
    unshare = need_program("unshare")
    hide = 'mount -t tmpfs none /etc && exec "$@"'
    done = run_guest([unshare, "--mount", "sh", "-c", hide, "sh", *guest_command("true")])
    assert done.stderr.splitlines() == [
        "relay: /etc/resolv.conf cannot be covered: no such file or directory",
        "hint: it must exist, and be no dangling link",
    ]


@pytest.mark.system
def test_only_a_device_of_the_kind_that_is_wished_for_is_made() -> None:
    done = run_guest(guest_command("true", user="ordinary user", options=["tun"]))
    assert (done.returncode, done.stderr.count("\n")) == (3, 2)
    assert run_guest(with_open_tun(guest_command("true", user="ordinary user", options=["tun"]))).returncode == 0
