"""curl, through every kind of proxy it knows that the relay is."""

from __future__ import annotations

import subprocess

import h11
import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import need_program
from support.clients import PASSWORD, USER
from support.origins import Origin
from support.programs import run
from support.web import Authority, secure_web, web

SCHEMES = ("socks4", "socks4a", "socks5", "socks5h", "http")
BY_NAME = ("socks4a", "socks5h", "http")
"""The schemes that leave names to the proxy."""
COULD_NOT_CONNECT_THROUGH_PROXY = 97  # curl(1), exit codes
RECEIVE_FAILURE = 56


def curl(proxy: str, *arguments: str, input_: str | None = None) -> subprocess.CompletedProcess[str]:
    need_program("curl")
    return run("curl", "--silent", "--show-error", "--max-time", "20", "--proxy", proxy, *arguments, input_=input_)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gets_http(nat: RunningRelay, plain: Origin, scheme: str) -> None:
    got = curl(nat.url(scheme), f"http://{plain.target}/page")
    assert (got.stdout, got.returncode) == ("GET /page", 0), got.stderr


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gets_https(nat: RunningRelay, secure: Origin, authority: Authority, scheme: str) -> None:
    got = curl(nat.url(scheme), "--cacert", str(authority.ca_file), f"https://{secure.target}/page")
    assert (got.stdout, got.returncode) == ("GET /page", 0), got.stderr


def test_gets_http_through_a_tunnel(nat: RunningRelay, plain: Origin) -> None:
    got = curl(nat.http_url, "--proxytunnel", f"http://{plain.target}/page")
    assert (got.stdout, got.returncode) == ("GET /page", 0), got.stderr
    assert nat.wait_for("flow-opened", via="http-connect")


@pytest.mark.parametrize("scheme", BY_NAME)
def test_a_name_is_resolved_by_the_relay(backend: str, plain: Origin, scheme: str) -> None:
    with serve_in_thread(backend=backend, resolve=[f"origin.test:{plain.port}:127.0.0.1"]) as nat:
        got = curl(nat.url(scheme), f"http://origin.test:{plain.port}/by-name")
        assert (got.stdout, got.returncode) == ("GET /by-name", 0), got.stderr
        assert nat.wait_for("flow-opened", destination=f"origin.test:{plain.port}")


@pytest.mark.parametrize("scheme", BY_NAME)
def test_a_certificate_is_checked_against_the_name(
    backend: str, secure: Origin, authority: Authority, scheme: str
) -> None:
    overrides = [f"{name}:{secure.port}:127.0.0.1" for name in ("origin.test", "other.test")]
    with serve_in_thread(backend=backend, resolve=overrides) as nat:
        right, wrong = (
            curl(nat.url(scheme), "--cacert", str(authority.ca_file), f"https://{name}:{secure.port}/")
            for name in ("origin.test", "other.test")
        )
    assert (right.stdout, right.returncode) == ("GET /", 0), right.stderr
    assert "other.test" in wrong.stderr


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
def test_ipv6_on_both_sides(backend: str, scheme: str) -> None:
    with Origin(web(), "::1") as origin, serve_in_thread(backend=backend, listen="[::1]:0") as nat:
        got = curl(nat.url(scheme), f"http://{origin.target}/six")
        assert (got.stdout, got.returncode) == ("GET /six", 0), got.stderr


def test_https_to_an_ipv6_address_through_a_tunnel(backend: str, authority: Authority) -> None:
    with secure_web(authority, "::1") as origin, serve_in_thread(backend=backend) as nat:
        got = curl(nat.http_url, "--cacert", str(authority.ca_file), f"https://{origin.target}/six")
        assert (got.stdout, got.returncode) == ("GET /six", 0), got.stderr


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
def test_the_right_user_and_password_are_let_in(guarded: RunningRelay, plain: Origin, scheme: str) -> None:
    got = curl(f"{scheme}://{guarded.address}", "--proxy-user", f"{USER}:{PASSWORD}", f"http://{plain.target}/in")
    assert (got.stdout, got.returncode) == ("GET /in", 0), got.stderr


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
def test_the_right_user_id_is_let_in(guarded: RunningRelay, plain: Origin, scheme: str) -> None:
    got = curl(f"{scheme}://{USER}@{guarded.address}", f"http://{plain.target}/in")
    assert (got.stdout, got.returncode) == ("GET /in", 0), got.stderr


def test_user_and_password_in_the_proxy_url_of_an_https_request(
    guarded: RunningRelay, secure: Origin, authority: Authority
) -> None:
    got = curl(guarded.http_url, "--cacert", str(authority.ca_file), f"https://{secure.target}/in")
    assert (got.stdout, got.returncode) == ("GET /in", 0), got.stderr


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
@pytest.mark.parametrize("user", [f"bob:{PASSWORD}", "ann2:wrong"])
def test_a_wrong_user_is_kept_out_by_socks(guarded: RunningRelay, plain: Origin, scheme: str, user: str) -> None:
    got = curl(f"{scheme}://{guarded.address}", "--proxy-user", user, f"http://{plain.target}/in")
    assert (got.stdout, got.returncode) == ("", COULD_NOT_CONNECT_THROUGH_PROXY), got.stderr
    assert plain.accepted == 0


@pytest.mark.parametrize("user", [[], ["--proxy-user", f"{USER}:wrong"], ["--proxy-user", f"bob:{PASSWORD}"]])
def test_a_wrong_user_is_kept_out_by_http(guarded: RunningRelay, plain: Origin, user: list[str]) -> None:
    got = curl(f"http://{guarded.address}", *user, "--write-out", "%{http_code}", f"http://{plain.target}/in")
    assert got.stdout.endswith("407"), got.stderr
    assert "GET" not in got.stdout
    tunnel = curl(f"http://{guarded.address}", *user, "--proxytunnel", f"http://{plain.target}/in")
    assert tunnel.returncode == RECEIVE_FAILURE
    assert "407" in tunnel.stderr
    assert plain.accepted == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_upload_of_unknown_length_is_chunked(nat: RunningRelay, scheme: str) -> None:
    text = "0123456789abcdef" * 20_000
    heads: list[h11.Request] = []
    with Origin(web(heads.append)) as origin:
        got = curl(nat.url(scheme), "--upload-file", "-", f"http://{origin.target}/up", input_=text)
    assert got.returncode == 0, got.stderr
    assert got.stdout == text
    assert (b"transfer-encoding", b"chunked") in heads[0].headers


@pytest.mark.parametrize("size_bytes", [5, 3_000_000])  # above 1 MB curl waits for "100 Continue"
def test_a_post_arrives_whole(nat: RunningRelay, plain: Origin, size_bytes: int) -> None:
    text = "x" * size_bytes
    got = curl(nat.http_url, "--data-binary", "@-", f"http://{plain.target}/post", input_=text)
    assert (got.stdout, got.returncode) == (text, 0), got.stderr


@pytest.mark.parametrize("scheme", SCHEMES)
def test_several_pages_come_over_one_connection(nat: RunningRelay, plain: Origin, scheme: str) -> None:
    pages = [f"http://{plain.target}/{number}" for number in range(4)]
    got = curl(nat.url(scheme), "--write-out", " %{num_connects}\n", *pages)
    assert got.stdout.splitlines() == ["GET /0 1", "GET /1 0", "GET /2 0", "GET /3 0"], got.stderr
    assert plain.accepted == 1


def test_one_connection_to_the_proxy_serves_two_origins(nat: RunningRelay, plain: Origin) -> None:
    with Origin(web()) as other:
        pages = [f"http://{origin.target}/{at}" for at, origin in enumerate((plain, other, plain))]
        got = curl(nat.http_url, "--write-out", " %{num_connects}\n", *pages)
    assert got.stdout.splitlines() == ["GET /0 1", "GET /1 0", "GET /2 0"], got.stderr
    assert other.accepted == 1


def test_a_head_request_has_no_body(nat: RunningRelay, plain: Origin) -> None:
    got = curl(nat.http_url, "--head", "--max-time", "5", f"http://{plain.target}/page")
    assert got.returncode == 0, got.stderr
    assert got.stdout.startswith("HTTP/1.1 200")
    assert "x-origin: yes" in got.stdout.lower()
