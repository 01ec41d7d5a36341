"""A name server on loopback that answers some names and is silent about all others."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType

from support.capabilities import need_program

_HEAD_BYTES = 12  # RFC 1035 section 4.1.1
_A, _IN = 1, 1
_RESPONSE = 0x8180  # an answer, recursion desired and available, no error
_NO_SUCH_NAME = 3


def with_name_server_here(directory: Path, options: str = "", hosts: str = "127.0.0.1 localhost") -> tuple[str, ...]:
    """The command that runs another where 127.0.0.1 is asked for names, and the hosts file says this."""
    (directory / "resolv.conf").write_text(f"nameserver 127.0.0.1\n{options}\n")
    (directory / "hosts").write_text(f"{hosts}\n")
    binds = "".join(f"mount --bind {directory}/{name} /etc/{name} && " for name in ("resolv.conf", "hosts"))
    return (need_program("unshare"), "-m", "sh", "-c", f'{binds}exec "$@"', "sh")


class NameServer:
    """Says where a name is that begins with `quick` (127.0.0.1), and that there is none that begins with `no`.

    Use it in a network namespace of one's own.
    """

    def __init__(self) -> None:
        self.questions: Counter[str] = Counter()
        """How often each name's IPv4 address was asked for, by its first label."""
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._sock.bind(("127.0.0.1", 53))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self._sock.getsockname())
        self._thread.join()
        self._sock.close()

    def _serve(self) -> None:
        while True:
            question, asker = self._sock.recvfrom(512)
            if not question:
                return
            label = question[_HEAD_BYTES + 1 : _HEAD_BYTES + 1 + question[_HEAD_BYTES]].decode()
            end = question.index(b"\0", _HEAD_BYTES) + 5  # of the name, its type and its class
            wants_ipv4 = struct.unpack_from("!H", question, end - 4)[0] == _A
            self.questions[label] += wants_ipv4
            if label.startswith(("quick", "no")):
                found = wants_ipv4 and label.startswith("quick")
                flags = _RESPONSE if label.startswith("quick") else _RESPONSE | _NO_SUCH_NAME
                head = question[:2] + struct.pack("!5H", flags, 1, found, 0, 0)
                address = struct.pack("!3HIH4s", 0xC000 | _HEAD_BYTES, _A, _IN, 60, 4, socket.inet_aton("127.0.0.1"))
                self._sock.sendto(head + question[_HEAD_BYTES:end] + (address if found else b""), asker)
