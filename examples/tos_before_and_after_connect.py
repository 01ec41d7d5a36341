"""Mark your packets before connecting, and nothing happens; mark them after, and VMware's NAT resets you.

The few lines that told in May 2019 why ssh and git died in VMware Fusion's guests: `IP_TOS` is set to 0x48 (AF21), the
marking of OpenSSH 7.8, either before `connect`, so that the SYN carries it too, or after it. The client is an ordinary
one that knows nothing of the relay: it connects to a port forward.

    python tos_before_and_after_connect.py

Needs Linux: another system tells no relay what a client has set. Root is not needed.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import socketserver
import sys
import threading

from relay import RelayError, serve_in_thread

AF21 = 0x48  # precedence 2, where a plain SYN has 0


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(1024):
                self.request.sendall(data)


def talk(address: tuple[str, int], *, mark: str) -> str:
    """Say two words to the echo server, and tell how that went."""
    with socket.socket() as sock:
        sock.settimeout(5)
        try:
            if mark == "before connect":
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
            sock.connect(address)
            sock.sendall(b"one")
            first = sock.recv(1024)
            if mark == "after connect":
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
            sock.sendall(b"two")
            second = sock.recv(1024)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
    return "works" if (first, second) == (b"one", b"two") else "is closed"


def main() -> None:
    ways = ("before connect", "after connect")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            print(f"{'TOS 0x48 is set':24}{ways[0]:18}{ways[1]}")
            for profile in ("transparent", "vmware-fusion", "vmware-workstation-16"):
                with serve_in_thread(profile, strict=True) as nat:
                    address = nat.forward("127.0.0.1", server.server_address[1])
                    seen = [talk(address, mark=way) for way in ways]
                    print(f"{profile:24}{seen[0]:18}{seen[1]}")
                    if "ECONNRESET" in seen:
                        ended = nat.wait_for("flow-ended", because="tos-reset").fields
                        print(f"{'':24}because of tos-reset; the server was sent {ended['external'].upper()}")
        finally:
            server.shutdown()


if __name__ == "__main__":
    try:
        main()
    except RelayError as error:
        sys.exit(f"{error}\nhint: {error.hint}")
