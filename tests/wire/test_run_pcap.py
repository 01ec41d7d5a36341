"""`relay run --pcap`: one capture of both sides, in which each packet says whose it is and why."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest

from support.capabilities import need_root
from support.dns_server import DnsServer, records
from support.drawn import arrows, ladders_of
from support.origins import Origin, echo
from support.programs import relay, sshd
from support.tshark import read_blocks, read_fields
from support.web import web

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

GUEST, HOST, DNS = "192.168.127.128", "192.168.127.1", "192.168.127.2"
_MARKED = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.sendall(b"plain")
assert sock.recv(5) == b"plain"
sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
sock.sendall(b"marked")
try:
    sock.recv(1)
except ConnectionResetError:
    print("reset")
"""


def captured(directory: Path, *words: str, options: tuple[str, ...] = ()) -> tuple[Path, str]:
    """A command behind the NAT: the capture, and what the command said."""
    need_root()
    file = directory / "packets.pcapng"
    done = relay("run", "--pcap", str(file), *options, "--", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return file, done.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_nat_s_reset_is_there_with_its_behaviour_and_what_made_it_act(tmp_path: Path, backend: str) -> None:
    with Origin(echo) as origin:
        words = (sys.executable, "-c", _MARKED, HOST, str(origin.port))
        file, said = captured(tmp_path, *words, options=("--backend", backend))
    assert said == "reset\n"
    told = read_fields(
        file, "frame.interface_name", "ip.src", "tcp.flags.str", "tcp.len", "ip.dsfield", "frame.comment"
    )
    rows = [(name, source, flags.strip("·").replace("·", ""), *rest) for name, source, flags, *rest in told]
    owners = {comment.partition(",")[0] for *_, comment in rows}
    assert len(owners) == 1
    (owner,) = owners
    assert owner.startswith("python")
    guest = [row[1:] for row in rows if row[0] == "guest"]
    assert guest[:3] == [
        (GUEST, "S", "0", "0x00", owner),
        (HOST, "AS", "0", "0x00", owner),
        (GUEST, "A", "0", "0x00", owner),
    ]
    assert (GUEST, "AP", "6", "0x48", f"{owner}, TOS 0x00 -> 0x48") in guest
    assert (HOST, "R", "0", "0x00", f"{owner}, tos-reset") in guest
    host = [row[2:] for row in rows if row[0] == "host"]
    assert [flags for flags, *_ in host[:3]] == ["S", "AS", "A"]
    assert ("AF", "0", "0x00", f"{owner}, tos-reset") in host
    told = read_fields(file, "frame.interface_name", "frame.interface_description")
    descriptions = {name: description for name, description in told}  # noqa: C416 - which dict() cannot take
    assert "rebuilt" not in descriptions["guest"]
    assert "rebuilt" in descriptions["host"]
    (ladder,) = ladders_of(file)
    assert arrows(ladder) == [
        "app > NAT: SYN",
        "      NAT > server: SYN",
        "      NAT < server: SYN-ACK",
        "app < NAT: SYN-ACK",
        "app ------> server: 5 B",
        "app <------ server: 5 B",
        "app > NAT: TOS 0x00 -> 0x48, precedence 0 -> 2; its SYN had 0",
        "app < NAT: RST, by tos-reset",
        "      NAT > server: FIN, by tos-reset",
        "      NAT < server: FIN",
    ]
    assert (ladder.cause, ladder.opened["via"]) == ("tos-reset", "wire")


def test_packets_are_in_the_order_of_their_times_and_their_checksums_are_right(tmp_path: Path) -> None:
    """Also those that a kernel would have completed, of segments of up to 64 KiB."""
    content = tmp_path / "content"
    content.write_bytes(bytes(range(256)) * 4000)
    with Origin(web()) as origin:
        url = f"http://{HOST}:{origin.port}/"
        words = ("curl", "-sS", "--data-binary", f"@{content}", "-o", str(tmp_path / "got"), url)
        file, _ = captured(tmp_path, *words)
    told = read_fields(file, "frame.time_epoch", "frame.interface_name", "tcp.checksum.status", "tcp.len")
    times = [float(time) for time, *_ in told]
    assert times == sorted(times)
    guest = [(status, int(length)) for _, name, status, length in told if name == "guest"]
    assert {status for status, _ in guest} == {"1"}
    assert max(length for _, length in guest) > 1460
    assert sum(length for _, length in guest) > 2 * content.stat().st_size
    (ladder,) = ladders_of(file)
    assert min(ladder.carried) > content.stat().st_size
    comments = {comment for (comment,) in read_fields(file, "frame.comment", options=("-Y", "tcp.len > 1000"))}
    assert all(comment.startswith("curl[") for comment in comments)


def test_names_that_the_guest_got_are_there_and_the_process_is_in_apples_fields(tmp_path: Path) -> None:
    with DnsServer(records("www.test A 127.0.0.9")) as server, Origin(web()) as origin:
        override = ("--resolve", f"api.test:{origin.port}:127.0.0.1")
        url = f"http://api.test:{origin.port}/"
        options = ("--dns", str(server.endpoint), *override)
        file, said = captured(tmp_path, "curl", "-sS", "-d", "over and back", url, options=options)
    assert said == "over and back"
    told = read_fields(file, "ip.dst_host", options=("-N", "n", "-Y", "tcp && frame.interface_name == guest"))
    assert ("api.test",) in told
    asked = read_fields(file, "ip.src", "ip.dst", "dns.qry.name", options=("-Y", "dns"))
    assert (GUEST, DNS, "api.test") in asked
    assert (DNS, GUEST, "api.test") in asked
    blocks = str(read_blocks(file))
    assert "'pcapng.darwin.process_name': 'curl'" in blocks


def test_ssh_is_named_too(tmp_path: Path) -> None:
    with sshd(tmp_path) as server:
        words = ("ssh", *server.arguments("IPQoS=lowdelay"), "-p", str(server.port), f"root@{HOST}", "echo", "alive")
        file, said = captured(tmp_path, *words)
    assert said == "alive\n"
    owners = {comment.partition("[")[0] for (comment,) in read_fields(file, "frame.comment", options=("-Y", "tcp"))}
    assert owners == {"ssh"}


def test_stdout_is_the_command_s_own() -> None:
    done = relay("run", "--pcap", "-", "--", "true")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "relay: --pcap: stdout is the command's own")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_datagrams_echoes_and_names_are_there_on_both_sides_with_their_processes(tmp_path: Path, backend: str) -> None:
    """On the host's side they are rebuilt from what the sockets carried, whole and with sound checksums."""
    script = (
        "dig +short www.test; dig +short +tcp www.test; ping -c 1 -q 192.168.127.1 >ping.log;"
        f"{sys.executable} -c 'import socket, sys; sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        'sock.sendto(b"question", (sys.argv[1], int(sys.argv[2]))); print(sock.recv(100).decode())\' "$1" "$2"'
    )
    with DnsServer(records("www.test A 192.0.2.7")) as names, socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        answering = threading.Thread(target=lambda: server.sendto(b"answer", server.recvfrom(100)[1]))
        answering.start()
        words = ("sh", "-c", f"cd {tmp_path}; {script}", "sh", HOST, str(server.getsockname()[1]))
        file, said = captured(tmp_path, *words, options=("--backend", backend, "--dns", str(names.endpoint)))
        answering.join()
    assert said.split() == ["192.0.2.7", "192.0.2.7", "answer"]
    told = read_fields(file, "frame.interface_name", "_ws.col.Protocol", "frame.comment", "data")
    seen = {(side, protocol, comment.partition("[")[0]) for side, protocol, comment, _ in told}
    for side in ("guest", "host"):
        assert {(side, "DNS", "dig"), (side, "TCP", "dig"), (side, "ICMP", "ping")} <= seen
        assert any(who.startswith("python") for of, protocol, who in seen if (of, protocol) == (side, "UDP"))
    assert sum(b"question".hex() in row[3] for row in told) == 2
    kinds = ("udp.checksum.status", "tcp.checksum.status", "icmp.checksum.status")
    sums = read_fields(file, *kinds, options=("-o", "udp.check_checksum:TRUE"))
    assert {status for row in sums for status in row} <= {"1", ""}
