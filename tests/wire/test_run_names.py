"""`relay run`: names, as real programs ask for them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.capabilities import need_program, need_root
from support.dns_server import DnsServer, records, silence
from support.name_server import with_name_server_here
from support.origins import Origin
from support.ports import free_port
from support.programs import RELAY, relay, run
from support.web import web

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

HOST = "192.168.127.1"
ZONE = records(
    "www.test A 192.0.2.7",
    "www.test AAAA 2001:db8::7",
    "www.test TXT abcd",
    *(f"long.test A 10.0.{number // 256}.{number % 256}" for number in range(600)),
)


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as found:
        yield found


def dig(server: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
    """What `dig` inside prints, where this name server is asked."""
    need_root()
    done = relay("run", "--dns", server, *options, "--", need_program("dig"), "+time=3", "+tries=1", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("option", "way"), [("+notcp", "udp"), ("+tcp", "tcp")])
def test_dig_is_answered_over_udp_and_tcp(backend: str, option: str, way: str, server: DnsServer) -> None:
    words = (option, "+short", "www.test", "A", "www.test", "TXT")
    assert dig(str(server.endpoint), *words, options=("--backend", backend)) == ["192.0.2.7", '"abcd"']
    assert [asked for asked, _ in server.queries] == [way, way]


def test_a_long_answer_comes_in_fragments_or_where_it_was_truncated_over_tcp(server: DnsServer) -> None:
    assert (
        len(dig(str(server.endpoint), "+short", "+bufsize=4096", "+ignore", "long.test")) == 0
    )  # over 4096: truncated
    assert len(dig(str(server.endpoint), "+short", "+bufsize=4096", "long.test")) == 600
    assert [way for way, _ in server.queries] == ["udp", "udp", "tcp"]
    with DnsServer(ZONE, udp_bytes=0xFFFF) as generous:
        assert len(dig(str(generous.endpoint), "+short", "+ignore", "long.test")) == 600
        assert [way for way, _ in generous.queries] == ["udp"]


def test_overrides_and_the_host_s_hosts_file_answer_without_a_server() -> None:
    absent = f"127.0.0.1:{free_port()}"
    override = ("--resolve", "api.test:443:127.0.0.1")
    assert dig(absent, "+short", "api.test", options=override) == [HOST]
    assert dig(absent, "+short", "-x", HOST, options=override) == ["api.test."]
    with Origin(web()) as origin:
        url = f"http://api.test:{origin.port}/"
        done = relay("run", "--dns", absent, *override, "--", "curl", "-sS", "-d", "over and back", url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "over and back", "")


def test_without_a_server_the_answer_is_that_it_failed() -> None:
    absent = f"127.0.0.1:{free_port()}"
    for way in ("+notcp", "+tcp"):
        assert "SERVFAIL," in dig(absent, way, "www.test")


def test_the_host_s_own_settings_are_used_and_that_there_are_none_is_no_crash(tmp_path: Path) -> None:
    """In a mount namespace of the host's, where /etc/resolv.conf and /etc/hosts say what the test has them say."""
    words = shlex.join((*RELAY, "run", "--", need_program("dig"), "+time=3", "+tries=1"))
    told = []
    inside = with_name_server_here(tmp_path, hosts="192.0.2.9 mine.test")
    (tmp_path / "resolv.conf").write_text("# offline\n")
    for name in ("mine.test", "www.test"):
        done = run(*inside, "sh", "-c", f"{words} {name}")
        assert (done.returncode, done.stderr) == (0, "")
        told.append(done.stdout)
    assert "192.0.2.9" in told[0]
    assert "status: SERVFAIL" in told[1]


def test_a_server_that_is_silent_does_not_hold_up_other_names(server: DnsServer) -> None:
    with DnsServer(silence) as quiet:
        done = relay(
            *("run", "--dns", str(quiet.endpoint), "--resolve", "api.test:1:192.0.2.8", "--", "sh", "-c"),
            "dig +time=4 +tries=1 +short www.test & dig +time=1 +tries=1 +short api.test",
        )
    assert done.stdout.split()[0] == "192.0.2.8"


def test_what_is_no_server_s_address_is_one_line_and_a_hint() -> None:
    done = relay("run", "--dns", "ns.test", "--", "true")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "relay: --dns: cannot read 'ns.test'")
