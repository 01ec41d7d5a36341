"""Real programs that stand between an app and a server, each for as long as its block lasts.

All take the server's port, and a port where none listens; the proxies' idle limit is as given. Those that make a
network for the app take root, and are called in a network of the test's own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from support.capabilities import need_program
from support.habits import Way
from support.ports import free_port
from support.real_networks import behind_masquerade, behind_slirp4netns, running

_UP_S = 60.0


@contextlib.contextmanager
def haproxy(folder: Path, server: int, nothing: int, idle_s: float) -> Iterator[Way]:
    """HAProxy in TCP mode."""
    ports = free_port(), free_port()
    listens = "".join(
        f"listen p{port}\n bind 127.0.0.1:{port}\n server s 127.0.0.1:{to}\n"
        for port, to in zip(ports, (server, nothing), strict=True)
    )
    config = folder / "haproxy.cfg"
    config.write_text(
        f"defaults\n mode tcp\n timeout connect 5s\n timeout client {idle_s * 1000:.0f}ms\n"
        f" timeout server {idle_s * 1000:.0f}ms\n{listens}"
    )
    with running(need_program("haproxy"), "-db", "-q", "-f", str(config)):
        yield _to_ports(*ports)


@contextlib.contextmanager
def nginx_stream(folder: Path, server: int, nothing: int, idle_s: float) -> Iterator[Way]:
    """nginx with its stream module, which Debian has in a package of its own."""
    ports = free_port(), free_port()
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{to}; proxy_timeout {idle_s * 1000:.0f}ms; }}\n"
        for port, to in zip(ports, (server, nothing), strict=True)
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nmaster_process off; daemon off;\n"
        f"pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\nstream {{\n{servers}}}\n"
    )
    with running(need_program("nginx"), "-c", str(config), "-p", str(folder)):
        yield _to_ports(*ports)


@contextlib.contextmanager
def docker_proxy(server: int, nothing: int) -> Iterator[Way]:
    """What Docker runs for each published port. It tells on descriptor 3 that it listens."""
    program = need_program("docker-proxy")
    with contextlib.ExitStack() as stack:
        ports = []
        for to in (server, nothing):
            port, (told, tell) = free_port(), os.pipe()
            words = ("-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", str(port), *_to_container(to))

            def as_three(tell: int = tell) -> None:
                os.dup2(tell, 3)

            stack.enter_context(running(program, *words, preexec_fn=as_three, close_fds=False))
            os.close(tell)
            with open(told, "rb") as said:
                assert said.read(1) == b"0"
            ports.append(port)
        yield _to_ports(*ports)


def _to_container(port: int) -> tuple[str, ...]:
    return ("-container-ip", "127.0.0.1", "-container-port", str(port))


@contextlib.contextmanager
def slirp4netns(server: int, nothing: int) -> Iterator[Way]:
    """libslirp; see `behind_slirp4netns`."""
    with behind_slirp4netns() as network:
        yield network.way(server, nothing)


@contextlib.contextmanager
def masquerade(server: int, nothing: int, timeouts: Mapping[str, int] | None = None) -> Iterator[Way]:
    """The kernel's NAT; see `behind_masquerade`."""
    with behind_masquerade(timeouts or {}) as network:
        yield network.way(server, nothing)


def _to_ports(server: int, nothing: int) -> Way:
    deadline = time.monotonic() + _UP_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", nothing)).close()
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.02)
    return Way(
        lambda: socket.create_connection(("127.0.0.1", server), 5),
        lambda: socket.create_connection(("127.0.0.1", nothing), 5),
    )
