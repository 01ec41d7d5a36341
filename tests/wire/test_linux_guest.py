"""A real guest: Debian's kernel and busybox in QEMU, behind the NAT by nothing but the link of its network card.

The program whose TOS byte changes meets the article's reset: the marked segment's text and ACK do not count.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.behind_nat import BACKENDS, HOST
from support.capabilities import need_program
from support.origins import Origin, Recorder
from support.programs import serve
from support.qemu import run_linux
from support.tshark import read_fields
from support.web import web

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="a static program is compiled"),
]

GUEST = "192.168.127.128"
FIELDS = (
    "tcp.stream",
    "frame.time_epoch",
    "ip.src",
    "tcp.flags",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.window_size_value",
    "tcp.len",
)
RST, PSH_ACK = 0x004, 0x018
ANSWER = bytes(44)
"""As long as the article's frame 34."""
TIMES = 8
"""Where the host is busy, the guest may acknowledge the answer before it marks its next segment."""


@pytest.fixture(scope="module")
def marking_guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, which needs no library."""
    program = tmp_path_factory.mktemp("program") / "marking-guest"
    source = Path(__file__).parents[1] / "support" / "marking_guest.c"
    subprocess.run([need_program("gcc"), "-static", "-O1", "-o", program, source], check=True)
    return program


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_linux_guest_is_given_all_it_needs_and_is_reset_by_the_precedence_rule(
    tmp_path: Path, backend: str, marking_guest: Path
) -> None:
    path, file = tmp_path / "guest", tmp_path / "packets.pcapng"
    echoed = Recorder()
    ended: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        assert connection.recv(5) == b"plain"
        connection.sendall(ANSWER)
        ended.append(connection.recv(100))

    with Origin(web()) as files, Origin(echoed) as echo, Origin(answer) as answering:
        options = (
            "--wire",
            f"qemu:unix:{path}",
            "--resolve",
            f"files.test:{files.port}:127.0.0.1",
            "--pcap",
            str(file),
        )
        with serve(tmp_path, *options, "--profile", "vmware-fusion") as relay:
            said = run_linux(
                tmp_path,
                f"stream,server=off,addr.type=unix,addr.path={path}",
                [
                    "nslookup -type=a files.test | grep -A 1 Name",
                    f"wget -q -O - http://files.test:{files.port}/by-wget; echo",
                    f"echo said by nc | nc {HOST} {echo.port}",
                    f"for each in $(seq {TIMES}); do marking-guest {HOST} {answering.port} 0x48; done",
                    "sleep 1",
                ],
                {"marking-guest": marking_guest},
            )
            assert relay.count("rst-sent", side="internal", because="tos-reset") == TIMES
    lines = [line.strip() for line in said.splitlines()]
    assert f"guest {GUEST}/24 gateway 192.168.127.2 dns 192.168.127.2 domain localdomain" in lines, said
    assert lines[lines.index("Name:\tfiles.test") + 1] == f"Address: {HOST}", said
    assert "GET /by-wget" in lines, said
    assert lines.count("said by nc") == 1, said
    assert [(each.data, each.how) for each in echoed.take()] == [(b"said by nc\n", "fin")]
    assert lines.count("after the mark: Connection reset by peer") == TIMES, said
    assert set(ended) == {b""}, "the server gets a FIN, and nothing of the marked segment"
    check_resets(file, answering.port)


def check_resets(file: Path, port: int) -> None:
    """Frames 34 to 38 of the article, with the numbers of these connections."""
    connections: dict[str, list[tuple[float, bool, int, int, int, int, int]]] = {}
    chosen = ("-Y", f"frame.interface_name == guest && tcp.port == {port}")
    for stream, time, source, flags, *numbers in read_fields(file, *FIELDS, options=chosen):
        seq, ack, window, length = map(int, numbers)
        connections.setdefault(stream, []).append(
            (float(time), source == GUEST, int(flags, 16), seq, ack, window, length)
        )
    assert len(connections) == TIMES
    whole = 0
    for frames in connections.values():
        at = next(number for number, each in enumerate(frames) if each[1:3] == (False, RST))
        before, marked, reset, *rest = frames[at - 2 :]
        assert (marked[1], marked[2], marked[6]) == (True, PSH_ACK, len(b"marked"))
        assert reset[3:] == (marked[4], 0, 64_240, 0)
        if before[1]:
            continue  # the answer was acknowledged, and nothing is sent again
        whole += 1
        again, last = rest
        assert (before[6], before[3] + len(ANSWER)) == (len(ANSWER), marked[4])
        assert (again[1], *again[3:5], again[6]) == (False, before[3], marked[3], len(ANSWER))
        assert 0.1 <= again[0] - before[0] < 0.3
        assert (last[1], last[2], last[3]) == (True, RST, marked[3])
    assert whole
