"""httpx through the relay, and what a reset looks like to it; here on trio, and the same on asyncio.

    pip install 'httpx[socks]' trio
    python with_httpx.py

A reset is a `ReadError` whenever it comes while a reply is awaited, be it before the first byte or in the body; one of
a connection that lies idle in the client's pool goes unnoticed: the client opens another.
`httpx.AsyncHTTPTransport(retries=2)` repeats failed connects alone, never a request. Works on every system.
"""

from __future__ import annotations

import functools

import anyio
import httpx

from relay import RunningRelay, serve_in_thread
from unlucky_web_server import unlucky_web_server

new_client = functools.partial(httpx.AsyncClient, trust_env=False)  # this host's own proxy settings stay out of it


async def fetch(nat: RunningRelay, url: str) -> None:
    for proxy in (nat.socks_url, nat.http_url):
        async with new_client(proxy=proxy) as client:
            reply = await client.get(f"{url}/works")
            print(f"by {proxy.partition(':')[0]}:".ljust(24), reply.text)

    async with new_client(proxy=nat.socks_url) as client:
        try:
            await client.get(f"{url}/cable-pulled")
        except httpx.TransportError as error:
            print("reset before the reply: ", repr(error), "from", repr(_root_cause(error)))

        try:
            async with client.stream("GET", f"{url}/half") as reply:
                nat.link_down()
                await reply.aread()
        except httpx.TransportError as error:
            print("reset in the body:      ", repr(error), "from", repr(_root_cause(error)))

        await client.get(f"{url}/works")
        nat.link_down()
        reply = await client.get(f"{url}/works")
        print("reset in the pool:      ", reply.text)


def _root_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def main() -> None:
    with serve_in_thread("vmware-fusion") as nat, unlucky_web_server(nat) as url:
        anyio.run(fetch, nat, url, backend="trio")

    resets = [flow for flow in nat.flows if flow.ending and flow.ending["because"] == "link-down-reset"]
    print(f"{len(nat.flows)} connections, {len(resets)} reset by the relay")


if __name__ == "__main__":
    main()
