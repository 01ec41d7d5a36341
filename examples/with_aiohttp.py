"""aiohttp through the relay, and what a reset looks like to it.

    pip install aiohttp aiohttp-socks
    python with_aiohttp.py

aiohttp speaks to HTTP proxies itself; SOCKS is aiohttp-socks' to add. A reset before the reply is a `ClientOSError`,
but only the second one: a GET is silently repeated once, so the server gets it twice. In the body it is a
`ClientPayloadError`; in the session's pool it goes unnoticed, for the session opens another. Works on every system.
"""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp_socks import ProxyConnector

from relay import RunningRelay, serve_in_thread
from unlucky_web_server import unlucky_web_server

PATIENCE = aiohttp.ClientTimeout(total=5)


async def fetch(nat: RunningRelay, url: str) -> None:
    by_socks = ProxyConnector.from_url(nat.url("socks5"))
    async with aiohttp.ClientSession(connector=by_socks, timeout=PATIENCE) as session:
        reply = await session.get(f"{url}/works")
        print("by socks5:              ", await reply.text())

    async with aiohttp.ClientSession(proxy=nat.http_url, timeout=PATIENCE) as session:
        async with session.get(f"{url}/works") as reply:
            print("by http:                ", await reply.text())

        try:
            await session.get(f"{url}/cable-pulled")
        except aiohttp.ClientError as error:
            print("reset before the reply: ", f"{type(error).__name__}: {error}")

        try:
            async with session.get(f"{url}/half") as reply:
                nat.link_down()
                await reply.text()
        except aiohttp.ClientError as error:
            print("reset in the body:      ", f"{type(error).__name__}: {error}")

        async with session.get(f"{url}/works") as reply:
            await reply.read()
        nat.link_down()
        async with session.get(f"{url}/works") as reply:
            print("reset in the pool:      ", await reply.text())


def main() -> None:
    with serve_in_thread("vmware-fusion") as nat, unlucky_web_server(nat) as url:
        asyncio.run(fetch(nat, url))

    resets = [flow for flow in nat.flows if flow.ending and flow.ending["because"] == "link-down-reset"]
    print(f"{len(nat.flows)} connections, {len(resets)} reset by the relay")


if __name__ == "__main__":
    main()
