"""Real programs that stand between an app and a server, each for as long as its block lasts.

All take the server's port, and a port where none listens; the proxies' idle limit is as given. Those that make a
network for the app take root, and are called in a network of the test's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from support.capabilities import need_program
from support.habits import Way
from support.programs import run

_CLONE_NEWNET = 0x40000000  # sched.h
_UP_S = 10.0


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
    """libslirp behind a TAP device in a network that is empty."""
    with own_network() as pid:
        told, tell = os.pipe()
        words = ("--configure", "--mtu=1500", f"--ready-fd={tell}", str(pid), "tap0")
        with running(need_program("slirp4netns"), *words, pass_fds=(tell,)):
            os.close(tell)
            with open(told, "rb") as said:
                assert said.read(1) == b"1"
            yield _from_network(pid, "10.0.2.2", server, nothing)


@contextlib.contextmanager
def masquerade(server: int, nothing: int, **timeouts: int) -> Iterator[Way]:
    """The kernel's NAT, in a network between the app's and this one; `timeouts` are nf_conntrack_tcp_timeout_*."""
    with own_network() as nat, own_network() as guest:
        ip, nft = need_program("ip"), need_program("nft")
        _do(ip, "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(nat))
        _do(ip, "address", "add", "203.0.113.1/24", "dev", "near")
        _do(ip, "link", "set", "near", "up")
        _do(*_in(nat), ip, "link", "add", "to_guest", "type", "veth", "peer", "name", "eth0", "netns", str(guest))
        for where, address, device in (
            (nat, "203.0.113.2/24", "far"),
            (nat, "10.9.0.1/24", "to_guest"),
            (guest, "10.9.0.2/24", "eth0"),
        ):
            _do(*_in(where), ip, "address", "add", address, "dev", device)
            _do(*_in(where), ip, "link", "set", device, "up")
        _do(*_in(guest), ip, "route", "add", "default", "via", "10.9.0.1")
        _do(*_in(nat), "sysctl", "-qw", "net.ipv4.ip_forward=1")
        _do(*_in(nat), nft, "table ip nat { chain out { type nat hook postrouting priority 100; }; }")
        _do(*_in(nat), nft, "add rule ip nat out oif far masquerade")
        for name, seconds in timeouts.items():
            _do(*_in(nat), "sysctl", "-qw", f"net.netfilter.nf_conntrack_tcp_timeout_{name}={seconds}")
        try:
            yield _from_network(guest, "203.0.113.1", server, nothing)
        finally:
            _do(ip, "link", "del", "near")


@contextlib.contextmanager
def own_network() -> Iterator[int]:
    """A network that is empty; the number of a process in it."""
    read, write = os.pipe()
    words = (need_program("unshare"), "--net", "sh", "-c", "echo; exec sleep 300 >&2")
    with running(*words, stdout=write) as process:
        os.close(write)
        with open(read, "rb") as said:
            said.read(1)
        _do(*_in(process.pid), need_program("ip"), "link", "set", "lo", "up")
        yield process.pid


@contextlib.contextmanager
def running(*words: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, **{**silent, **options})  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


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


def _from_network(pid: int, host: str, server: int, nothing: int) -> Way:
    return Way(lambda: _connect(pid, host, server), lambda: _connect(pid, host, nothing))


def _connect(pid: int, host: str, port: int) -> socket.socket:
    """A connection whose socket is in the network of this process."""
    made: list[socket.socket] = []

    def enter_and_make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{pid}/ns/net", "rb") as network:
            if libc.setns(network.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        made.append(socket.socket())

    thread = threading.Thread(target=enter_and_make)
    thread.start()
    thread.join()
    made[0].settimeout(5)
    try:
        made[0].connect((host, port))
    except OSError:
        made[0].close()
        raise
    return made[0]


def _in(pid: int) -> tuple[str, ...]:
    return (need_program("nsenter"), "--target", str(pid), "--net")


def _do(*words: str) -> None:
    done = run(*words)
    assert done.returncode == 0, done.stderr
