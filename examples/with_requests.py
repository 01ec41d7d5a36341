"""requests through the relay, and what a reset looks like to it.

    pip install 'requests[socks]'
    python with_requests.py

A reset before the reply is a `ConnectionError`, one in the body a `ChunkedEncodingError`, whatever the body's framing;
one of a connection that lies idle in the session's pool goes unnoticed, for the session opens another. The first is
cured by `session.mount("http://", requests.adapters.HTTPAdapter(max_retries=2))`. Works on every system.
"""

from __future__ import annotations

import requests

from relay import serve_in_thread
from unlucky_web_server import unlucky_web_server


def new_session(proxy: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # this host's own proxy settings stay out of it
    session.proxies = {"http": proxy, "https": proxy}
    return session


def main() -> None:
    with serve_in_thread("vmware-fusion") as nat, unlucky_web_server(nat) as url:
        for proxy in (nat.socks_url, nat.http_url):
            with new_session(proxy) as session:
                print(f"by {proxy.partition(':')[0]}:".ljust(24), session.get(f"{url}/works", timeout=5).text)

        with new_session(nat.socks_url) as session:
            try:
                session.get(f"{url}/cable-pulled", timeout=5)
            except requests.RequestException as error:
                print("reset before the reply: ", f"{type(error).__name__}: {error}")

            try:
                with session.get(f"{url}/half", stream=True, timeout=5) as reply:
                    nat.link_down()
                    print(reply.text)
            except requests.RequestException as error:
                print("reset in the body:      ", f"{type(error).__name__}: {error}")

            session.get(f"{url}/works", timeout=5)
            nat.link_down()
            print("reset in the pool:      ", session.get(f"{url}/works", timeout=5).text)

    resets = [flow for flow in nat.flows if flow.ending and flow.ending["because"] == "link-down-reset"]
    print(f"{len(nat.flows)} connections, {len(resets)} reset by the relay")


if __name__ == "__main__":
    main()
