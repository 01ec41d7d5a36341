"""proxychains4 with curl: a program that knows no proxy, its connect() calls redirected."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from relay.testing import RunningRelay
from support.capabilities import need_program
from support.clients import PASSWORD, USER
from support.origins import Origin
from support.programs import run
from support.web import Authority

KINDS = {"socks4": "socks4", "socks5": "socks5", "http": "http-connect"}
CURL_COULD_NOT_CONNECT = 7


def chained(
    directory: Path, nat: RunningRelay, kind: str, *arguments: str, user: str = ""
) -> subprocess.CompletedProcess[str]:
    """curl under a chain of the relay alone."""
    need_program("curl")
    settings = directory / "proxychains.conf"
    settings.write_text(f"strict_chain\nproxy_dns\n[ProxyList]\n{kind} {nat.address.host} {nat.address.port} {user}\n")
    proxychains = (need_program("proxychains4"), "-q", "-f", str(settings))
    return run(*proxychains, "curl", "--silent", "--show-error", "--max-time", "20", *arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_curl_gets_http(tmp_path: Path, nat: RunningRelay, plain: Origin, kind: str) -> None:
    got = chained(tmp_path, nat, kind, f"http://{plain.target}/page")
    assert (got.stdout, got.returncode) == ("GET /page", 0), got.stderr
    assert nat.wait_for("flow-opened", via=KINDS[kind])


def test_curl_gets_https(tmp_path: Path, nat: RunningRelay, secure: Origin, authority: Authority) -> None:
    got = chained(tmp_path, nat, "socks5", "--cacert", str(authority.ca_file), f"https://{secure.target}/page")
    assert (got.stdout, got.returncode) == ("GET /page", 0), got.stderr


@pytest.mark.parametrize("kind", ["socks4", "socks5", "http"])
def test_names_reach_the_relay(tmp_path: Path, nat: RunningRelay, plain: Origin, kind: str) -> None:
    nat.resolve("origin.test", plain.port, "127.0.0.1")
    got = chained(tmp_path, nat, kind, f"http://origin.test:{plain.port}/by-name")
    assert (got.stdout, got.returncode) == ("GET /by-name", 0), got.stderr
    assert nat.wait_for("flow-opened", destination=f"origin.test:{plain.port}")


@pytest.mark.parametrize("kind", ["socks5", "http"])
def test_a_user_with_the_right_password_and_a_wrong_one(
    tmp_path: Path, guarded: RunningRelay, plain: Origin, kind: str
) -> None:
    page = f"http://{plain.target}/in"
    wrong = chained(tmp_path, guarded, kind, page, user=f"{USER} wrong")
    assert (wrong.stdout, wrong.returncode) == ("", CURL_COULD_NOT_CONNECT), wrong.stderr
    right = chained(tmp_path, guarded, kind, page, user=f"{USER} {PASSWORD}")
    assert (right.stdout, right.returncode) == ("GET /in", 0), right.stderr
    assert plain.accepted == 1
