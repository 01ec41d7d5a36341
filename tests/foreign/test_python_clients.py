"""Python's SOCKS and proxy clients: python-socks, PySocks, httpx, aiohttp-socks; each on whatever it runs on."""

from __future__ import annotations

import gc
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable

import anyio
import httpx
import pytest
import python_socks
import socks  # type: ignore[import-untyped]  # it has no types
from aiohttp import ClientSession
from aiohttp_socks import ProxyConnector
from python_socks.async_.asyncio import Proxy as AsyncioProxy
from python_socks.async_.trio import Proxy as TrioProxy
from python_socks.sync import Proxy as SyncProxy

from relay.testing import RunningRelay
from support.clients import PASSWORD, USER
from support.origins import Origin, echo, read_exactly, refusing_port
from support.web import Authority

SOCKS = ("socks4", "socks5")
TUNNELS = (*SOCKS, "http")
LIBRARIES = ("asyncio", "trio")
REFUSED = {"socks4": 0x5B, "socks5": 5, "http": 502}


def with_user(nat: RunningRelay, scheme: str, password: str) -> str:
    return f"{scheme}://{USER}:{urllib.parse.quote(password)}@{nat.address}"


# python-socks: sync, asyncio and trio

Talk = Callable[[str, str, int], bytes]


def talk_sync(url: str, host: str, port: int) -> bytes:
    with SyncProxy.from_url(url).connect(host, port, timeout=60) as sock:
        sock.sendall(b"hello")
        return read_exactly(sock, 5)


def talk_asyncio(url: str, host: str, port: int) -> bytes:
    async def talk() -> bytes:
        sock = await AsyncioProxy.from_url(url).connect(host, port, timeout=60)
        async with await anyio.abc.SocketStream.from_socket(sock) as stream:
            await stream.send(b"hello")
            return await stream.receive(5)

    return anyio.run(talk, backend="asyncio")


def talk_trio(url: str, host: str, port: int) -> bytes:
    async def talk() -> bytes:
        with await TrioProxy.from_url(url).connect(host, port, timeout=60) as sock:
            await sock.send(b"hello")
            return bytes(await sock.recv(5))

    return anyio.run(talk, backend="trio")


@pytest.mark.parametrize("scheme", TUNNELS)
@pytest.mark.parametrize("talk", [talk_sync, talk_asyncio, talk_trio])
def test_python_socks_connects(nat: RunningRelay, talk: Talk, scheme: str) -> None:
    with Origin(echo) as origin:
        assert talk(nat.url(scheme), "127.0.0.1", origin.port) == b"hello"


@pytest.mark.parametrize("scheme", ["socks5", "http"])
@pytest.mark.parametrize("talk", [talk_sync, talk_asyncio, talk_trio])
def test_python_socks_connects_to_ipv6(nat: RunningRelay, talk: Talk, scheme: str) -> None:
    with Origin(echo, "::1") as origin:
        assert talk(nat.url(scheme), "::1", origin.port) == b"hello"


@pytest.mark.parametrize("scheme", TUNNELS)
@pytest.mark.parametrize("talk", [talk_sync, talk_asyncio, talk_trio])
def test_python_socks_learns_that_it_was_refused(nat: RunningRelay, talk: Talk, scheme: str) -> None:
    with refusing_port() as port, pytest.raises(python_socks.ProxyError) as failed:
        talk(nat.url(scheme), "127.0.0.1", port)
    assert failed.value.error_code == REFUSED[scheme]


@pytest.mark.parametrize("scheme", ["socks5", "http"])
@pytest.mark.parametrize("talk", [talk_sync, talk_asyncio, talk_trio])
def test_python_socks_with_the_right_password_and_a_wrong_one(guarded: RunningRelay, talk: Talk, scheme: str) -> None:
    with Origin(echo) as origin:
        assert talk(with_user(guarded, scheme, PASSWORD), "127.0.0.1", origin.port) == b"hello"
        with pytest.raises(python_socks.ProxyError):
            talk(with_user(guarded, scheme, "wrong"), "127.0.0.1", origin.port)
        assert origin.accepted == 1


# PySocks


PYSOCKS_TYPES = {"socks4": socks.SOCKS4, "socks5": socks.SOCKS5, "http": socks.HTTP}


@pytest.mark.parametrize("scheme", TUNNELS)
@pytest.mark.parametrize("by_name", [False, True])
def test_pysocks_connects(nat: RunningRelay, scheme: str, by_name: bool) -> None:
    with Origin(echo) as origin:
        nat.resolve("echo.test", origin.port, "127.0.0.1")
        with socks.socksocket() as client:
            client.settimeout(60)
            client.set_proxy(PYSOCKS_TYPES[scheme], nat.address.host, nat.address.port, rdns=by_name)
            client.connect(("echo.test" if by_name else "127.0.0.1", origin.port))
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"


@pytest.mark.parametrize(("scheme", "words"), {"socks4": "rejected", "socks5": "refused", "http": "502"}.items())
def test_pysocks_learns_that_it_was_refused(nat: RunningRelay, scheme: str, words: str) -> None:
    with refusing_port() as port, socks.socksocket() as client:
        client.set_proxy(PYSOCKS_TYPES[scheme], nat.address.host, nat.address.port)
        with pytest.raises(socks.ProxyError, match=rf"(?i){words}"):
            client.connect(("127.0.0.1", port))


def test_pysocks_with_the_right_password_and_a_wrong_one(guarded: RunningRelay) -> None:
    with Origin(echo) as origin:
        for password in (PASSWORD, "wrong"):
            with socks.socksocket() as client:
                client.set_proxy(
                    socks.SOCKS5, guarded.address.host, guarded.address.port, username=USER, password=password
                )
                if password == PASSWORD:
                    client.connect(("127.0.0.1", origin.port))
                    client.sendall(b"hello")
                    assert read_exactly(client, 5) == b"hello"
                else:
                    with pytest.raises(socks.ProxyError, match="authentication failed"):
                        client.connect(("127.0.0.1", origin.port))
        assert origin.accepted == 1


# httpx, on asyncio and trio


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
def test_httpx_gets_and_posts_http_and_https(
    nat: RunningRelay, plain: Origin, secure: Origin, authority: Authority, library: str, scheme: str
) -> None:
    async def fetch() -> list[str]:
        async with httpx.AsyncClient(proxy=nat.url(scheme), verify=authority.client(), trust_env=False) as client:
            return [
                (await client.get(f"http://{plain.target}/page")).text,
                (await client.post(f"http://{plain.target}/", content=b"body" * 5000)).text,
                (await client.get(f"https://{secure.target}/page")).text,
            ]

    assert anyio.run(fetch, backend=library) == ["GET /page", "body" * 5000, "GET /page"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_httpx_streams_an_upload_in_chunks(nat: RunningRelay, plain: Origin, library: str) -> None:
    async def upload() -> str:
        async def chunks() -> AsyncIterator[bytes]:
            for number in range(50):
                yield f"chunk {number} ".encode()

        async with httpx.AsyncClient(proxy=nat.http_url, trust_env=False) as client:
            return (await client.put(f"http://{plain.target}/", content=chunks())).text

    assert anyio.run(upload, backend=library) == "".join(f"chunk {number} " for number in range(50))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # httpcore drops its socket when SOCKS5 turns it away
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_httpx_with_the_right_password_and_a_wrong_one(
    guarded: RunningRelay, secure: Origin, authority: Authority, library: str, scheme: str
) -> None:
    async def get(password: str) -> str:
        proxy = with_user(guarded, scheme, password)
        async with httpx.AsyncClient(proxy=proxy, verify=authority.client(), trust_env=False) as client:
            return (await client.get(f"https://{secure.target}/in")).text

    assert anyio.run(get, PASSWORD, backend=library) == "GET /in"
    with pytest.raises(httpx.ProxyError):
        anyio.run(get, "wrong", backend=library)
    gc.collect()


# aiohttp-socks


@pytest.mark.parametrize("scheme", TUNNELS)
def test_aiohttp_socks_gets_http_and_https(
    nat: RunningRelay, plain: Origin, secure: Origin, authority: Authority, scheme: str
) -> None:
    async def fetch() -> list[str]:
        context: ssl.SSLContext = authority.client()
        async with ClientSession(connector=ProxyConnector.from_url(nat.url(scheme))) as session:
            pages = []
            for url in (f"http://{plain.target}/page", f"https://{secure.target}/page"):
                async with session.get(url, ssl=context) as response:
                    pages.append(await response.text())
            return pages

    assert anyio.run(fetch, backend="asyncio") == ["GET /page", "GET /page"]


def test_aiohttp_uses_the_relay_as_an_http_proxy(
    nat: RunningRelay, plain: Origin, secure: Origin, authority: Authority
) -> None:
    async def fetch() -> list[str]:
        async with ClientSession() as session:
            pages = []
            for url in (f"http://{plain.target}/page", f"https://{secure.target}/page"):
                async with session.get(url, ssl=authority.client(), proxy=nat.http_url) as response:
                    pages.append(await response.text())
            return pages

    assert anyio.run(fetch, backend="asyncio") == ["GET /page", "GET /page"]
