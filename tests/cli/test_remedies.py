"""What a user without privileges is advised, followed to its end: by setpriv as another user, and in a container."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from relay.observe.kernel.privileges import Capability, Standing, how_to_get, standing
from support.capabilities import need_program, need_root
from support.programs import RELAY, as_ordinary_user, run, serve

ORDINARY_UID = 65534
CAP_NEWEST = 40  # CAP_CHECKPOINT_RESTORE, Linux 5.9
IN_A_CONTAINER = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs none /run; touch /run/.containerenv; exec "$@"',
    "sh",
)
WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all,+dac_read_search")
"""Root in a container has few capabilities; this one lets it read the interpreter that may be in a home."""


def doctor(*prefix: str) -> str:
    """What `relay doctor` prints, with its lines joined."""
    need_root()
    need_program("setpriv")
    done = run(*prefix, *RELAY, "doctor")
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def advised_command() -> list[str]:
    """What the advice to an ordinary user says after `sudo`, without the command that it is for."""
    ordinary = Standing(ORDINARY_UID, ORDINARY_UID, 0, in_container=False, last_capability=CAP_NEWEST)
    return how_to_get([Capability.BPF], ordinary).partition("sudo setpriv ")[2].removesuffix(" COMMAND").split()


def test_by_the_advised_setpriv_another_user_shows_tos_reset_exactly(tmp_path: Path) -> None:
    need_root()
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:2]:  # pytest's own are its user's alone
        folder.chmod(0o755)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serve(
            tmp_path,
            *("--forward", f"0:127.0.0.1:{listener.getsockname()[1]}"),
            prefix=(need_program("setpriv"), *advised_command()),
        ) as nat,
    ):
        started = nat.wait_for("relay-started")
        assert Path(f"/proc/{nat.process.pid}").stat().st_uid == ORDINARY_UID
        assert started["fidelity"]["tos-reset"] == "exact"
        with socket.create_connection(("127.0.0.1", nat.ports[1])) as app, listener.accept()[0] as server:
            app.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
            app.sendall(b"not one byte of this arrives")
            nat.wait_for("rst-sent", side="internal", because="tos-reset")
            assert server.recv(100) == b""


def test_a_user_is_advised_sudo_or_setpriv_and_in_a_container_to_start_it_otherwise() -> None:
    told = doctor(*as_ordinary_user())
    if standing().in_container:
        assert "remedy: start the container with --user root --cap-add BPF --cap-add NET_ADMIN" in told
        assert "sudo" not in told
    else:
        assert "remedy: run it with sudo" in told
        assert "--inh-caps +bpf,+net_admin --ambient-caps +bpf,+net_admin" in told
    assert "setcap" not in told


@pytest.mark.parametrize("in_container", [False, True])
def test_root_without_capabilities_is_advised_what_its_starter_must_give(in_container: bool) -> None:
    told = doctor(*(IN_A_CONTAINER if in_container else ()), *WITHOUT_CAPABILITIES)
    assert "--cap-add BPF --cap-add NET_ADMIN" in told
    if in_container:
        assert "remedy: start the container with --cap-add BPF" in told
    elif not standing().in_container:
        assert "a systemd service with CapabilityBoundingSet=CAP_BPF CAP_NET_ADMIN" in told
    assert "sudo" not in told
    assert "setcap" not in told
