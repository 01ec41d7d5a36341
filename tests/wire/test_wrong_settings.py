"""The errors about a guest's wrong settings, by the command line's own words."""

from __future__ import annotations

import pytest

from support.programs import relay

pytestmark = pytest.mark.system

_GUEST = ("--wire", "qemu:127.0.0.1:0")


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            ["--wire", "quemu:unix:/run/g"],
            "--wire: cannot read 'quemu:unix:/run/g'",
            "did you mean qemu:? the forms are ",
        ),
        (["--wire", "tun:none0"], "--wire: there is no device 'none0'", "there are "),
        (["--wire", "interface:lo"], "--wire: lo is no Ethernet device", "a TUN device is tun:lo"),
        (
            ["--wire", "qemu:unix:/none/guest"],
            "--wire: cannot listen on /none/guest: no such file or directory",
            "give ",
        ),
        (
            ["--wire", "qemu:0.0.0.0:4711"],
            "--wire: listening on 0.0.0.0:4711 without authentication",
            "a guest has none; add --allow-open",
        ),
        (
            ["--wire", "udp:0.0.0.0:4711"],
            "--wire: listening on 0.0.0.0:4711 without authentication",
            "a guest has none; add --allow-open",
        ),
        (
            [*_GUEST, "--network", "10.0.0.0/25"],
            "--network: 10.0.0.0/25 has fewer than 256 addresses",
            "give 256 addresses or more",
        ),
        (
            [*_GUEST, "--network", "10.0.0.0/24,guest=.2"],
            "--network: guest and gateway are both 10.0.0.2",
            "give 256 addresses or more, as 192.168.127.0/24, or 192.168.127.0/24,guest=.50",
        ),
        ([*_GUEST, "--offload", "on"], "--offload: 'on' is not known", "it is one of auto, off"),
    ],
)
def test_a_wrong_setting_is_named(options: list[str], message: str, hint: str) -> None:
    done = relay("serve", "--listen", "127.0.0.1:0", *options)
    assert done.returncode == 2
    told, hinted = done.stderr.splitlines()
    assert told == f"relay: {message}"
    assert hinted.startswith(f"hint: {hint}")
