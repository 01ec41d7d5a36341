"""`relay serve --wire`: guests on links that the user has made."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from support.capabilities import need_root
from support.programs import RELAY, as_ordinary_user, relay, run
from support.tshark import read_fields

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="TUN devices are Linux's")]

_SCRIPT = """
set -e
ip link set lo up
ip tuntap add mode tun name guest0
ip address add 192.168.127.128/24 dev guest0
ip link set guest0 up
{python} -m http.server -b 127.0.0.1 8000 >/dev/null 2>&1 &
server=$!
{relay} serve --backend {backend} --wire tun:guest0 --listen 127.0.0.1:0 --resolve api.test:80:192.0.2.7 \
    --events {events} --pcap {pcap} --port-file {ports} --quiet 2>{banner} &
relay=$!
until [ -e {ports} ]; do sleep 0.05; done
curl -sS --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null -w '%{{http_code}}\\n' http://192.168.127.1:8000/
dig +short @192.168.127.2 api.test
dig +short +tcp @192.168.127.2 api.test
ping -c 1 192.168.127.2 | grep -o 'ttl=128'
kill $relay
wait $relay
kill $server
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_guest_on_a_tun_device_has_tcp_names_and_ping(tmp_path: Path, backend: str) -> None:
    need_root()
    names = {name: shlex.quote(str(tmp_path / name)) for name in ("events", "ports", "banner", "pcap")}
    script = _SCRIPT.format(python=sys.executable, relay=shlex.join(RELAY), backend=backend, **names)
    done = run("unshare", "--net", "sh", "-c", script, timeout_s=60)
    assert done.stdout.split() == ["200", "192.0.2.7", "192.0.2.7", "ttl=128"], done.stderr
    assert done.returncode == 0
    banner = [line.strip() for line in (tmp_path / "banner").read_text().splitlines()]
    at = banner.index("wire    tun:guest0")
    assert banner[at + 1 : at + 3] == [
        "guest 192.168.127.128/24, gateway and name server 192.168.127.2",
        "192.168.127.1 leads to this host's 127.0.0.1 (--no-host turns that off)",
    ]
    assert banner[at + 3].startswith("name servers: ")
    told = read_fields(tmp_path / "pcap", "frame.interface_name", "_ws.col.Protocol")
    assert {("guest", protocol) for protocol in ("TCP", "HTTP", "DNS", "ICMP")} <= set(told)
    assert ("host", "TCP") in told


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--wire", "tin:guest0"), "--wire: cannot read 'tin:guest0'"),
        (("--wire", "tun:absent0"), "--wire: "),
        (("--wire", "qemu:unix:/tmp/x", "--workers", "2"), "--wire: a guest's link is for one process"),
        (("--dns", "localhost"), "--dns: "),
    ],
)
def test_what_cannot_be_attached_is_one_line_and_a_hint(arguments: tuple[str, ...], complaint: str) -> None:
    done = relay("serve", "--listen", "127.0.0.1:0", *arguments)
    assert done.returncode == 2, done.stderr
    first, second = done.stderr.splitlines()
    assert first.startswith(f"relay: {complaint}")
    assert second.startswith("hint: ")


@pytest.mark.parametrize(("allowed", "said"), [("0 65534", False), ("1 0", True)])
def test_that_pings_are_not_answered_is_said_with_the_remedy(tmp_path: Path, allowed: str, said: bool) -> None:
    events = tmp_path / "events.jsonl"
    events.touch()
    events.chmod(0o666)
    serving = shlex.join(
        (
            *as_ordinary_user(),
            *RELAY,
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--wire",
            "udp:127.0.0.1:0",
            "--events",
            str(events),
        )
    )
    script = f"ip link set lo up; echo '{allowed}' > /proc/sys/net/ipv4/ping_group_range; timeout -s TERM 3 {serving}"
    done = run("unshare", "--net", "sh", "-c", script, timeout_s=60)
    assert ("pings are not answered; sysctl net.ipv4.ping_group_range=" in done.stderr) is said, done.stderr
    assert ('"ping-unavailable"' in events.read_text()) is said
