"""Which process of a namespace has an end of a connection.

The namespace's own kernel tables tell the inode of the socket, by a netlink socket that was opened there. The process
is one of the command's: it descends from the helper, so the walk is over few processes, the newest first. A program
that has sent a SYN waits for the answer, so it exists at that moment, however short its life. A connection that waits
in a listener's queue has no process yet; if one accepts it soon, that one is found. The ids here are those by which
processes of the namespace know themselves.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from relay.clock import real_s
from relay.legs import PeerSocket, Process
from relay.observe.kernel.peer_socket import peer_socket
from relay.observe.kernel.processes import all_processes, descendants, descriptors, name_of, own_pid
from relay.observe.kernel.sock_diag import SockDiag, SocketInfo
from relay.wire.ends import Ends
from relay.wire.mappings import End
from relay.wire.packet import ICMP

_ACCEPT_S = 0.2  # for a process to accept a connection that is ready for it
_ACCEPT_POLL_S = 0.005
_INODE = 9  # among a line's fields
_GLIMPSED_LINKS = 512  # descriptors; measured: 2 to 8 us each


class NamespaceOwners:
    """Finds them; see `relay.wire.owners.Owners`. Its methods may be called in any thread."""

    def __init__(self, diagnosis: socket.socket, helper: int) -> None:
        """Look among the descendants of the process `helper`, by a NETLINK_SOCK_DIAG socket that was opened there."""
        self._diag = SockDiag(diagnosis)
        self._helper = helper
        self._last = helper  # the process that was found last: it may open many connections
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        with self._lock:
            self._diag.close()

    def glimpse(self, ends: Ends) -> Process | None:
        found = self._query(ends)
        return self._find(found.inode, _GLIMPSED_LINKS) if found is not None else None

    def find(self, ends: Ends) -> Process | None:
        until_s = real_s() + _ACCEPT_S
        while (found := self._query(ends)) is not None:
            if found.inode or real_s() > until_s:
                return self._find(found.inode, None)
            time.sleep(_ACCEPT_POLL_S)
        return None

    def look(self, ends: Ends) -> PeerSocket | None:
        with self._lock:
            try:
                state = self._diag.examine(ends.guest, ends.destination)
            except OSError:
                return None
        return peer_socket(state) if state is not None else None

    def glimpse_datagram(self, protocol: int, end: End) -> Process | None:
        for table, number in _tables_of(protocol, end.number):
            inode = self._inode_in(table, number)
            if inode and (found := self._find(inode, _GLIMPSED_LINKS)) is not None:
                return found
        return None

    def _inode_in(self, table: str, number: int) -> int:
        """The inode of the socket in one of the namespace's tables (proc(5), /proc/PID/net); 0 if there is none."""
        with suppress(OSError), open(f"/proc/{self._helper}/net/{table}", encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if fields[1].endswith(f":{number:04X}"):
                    return int(fields[_INODE])
        return 0

    def _find(self, inode: int, at_most: int | None) -> Process | None:
        if not inode:
            return None
        wanted, looked_at = f"socket:[{inode}]", 0
        for pid in self._candidates():
            for link in descriptors(pid):
                if link == wanted:
                    self._last = pid
                    return own_pid(pid), name_of(pid)
                looked_at += 1
                if looked_at == at_most:
                    return None
        return None

    def _query(self, ends: Ends) -> SocketInfo | None:
        with self._lock:
            try:
                return self._diag.query(ends.guest, ends.destination)
            except OSError:
                return None

    def _candidates(self) -> Iterator[int]:
        last = self._last
        yield last
        # A kernel without CONFIG_PROC_CHILDREN does not tell who descends from whom.
        yield from (pid for pid in descendants(self._helper) or all_processes() if pid != last)


def _tables_of(protocol: int, number: int) -> tuple[tuple[str, int], ...]:
    """Where a socket may be, and by which number: a ping socket's is its identifier, a raw one's the protocol."""
    return (("icmp", number), ("raw", ICMP)) if protocol == ICMP else (("udp", number),)
