"""The system calls of a script, as verbs of the TCP; and verbs that no kernel has.

Each takes the player and the script's words, and returns what a kernel would, as a script says it; None where that is
not compared.

    dial()                              opens a connection to the guest
    grant() refuse()                    what the server does about the SYN, which is granted at once otherwise
    reset(4) close(4) shutdown(4, SHUT_WR)
    watch_tos(4, 0xe0) let_through(4)   the ability to withhold marked segments
    keepalive(4, idle, interval, count) limit_window(4, bytes) blackhole(4, 1) answer_probes(4, 0) answer_probe(4)
    saw(READABLE, FIN)                  exactly this was seen since the last `saw`
    state(ESTABLISHED)                  the state now

A script that opens no socket listens, unless it dials, and has its connection at descriptor 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.wire.tcp import BROKEN, WOULD_BLOCK, Seen, State, Tcp

if TYPE_CHECKING:
    from support.packetdrill.player import Player

_SEEN: Final = {name: value for name, value in vars(Seen).items() if name.isupper()}


@dataclass
class Descriptor:
    """What a descriptor stands for."""

    connected: bool = False
    resets_on_close: bool = False


def _socket(player: Player, *_: str) -> str:
    return str(_new(player, Descriptor()))


def _new(player: Player, descriptor: Descriptor) -> int:
    number = 3
    while number in player.descriptors:
        number += 1
    player.descriptors[number] = descriptor
    return number


def _done(player: Player, *_: str) -> str:
    return "0"


def _ignored(player: Player, *_: str) -> None:
    return None


def _listen(player: Player, *_: str) -> str:
    player.listening = True
    return "0"


def _connect(player: Player, descriptor: str, *_: str) -> None:
    player.descriptors[int(descriptor)].connected = True
    if player.tcp is None:
        player.tcp = Tcp.opening(player.stack, player.numbers.ours, player.now_s)
        player.allow_payload(player.tcp)


def _dial(player: Player) -> None:
    _connect(player, "4")


def _accept(player: Player, *_: str) -> str:
    if player.tcp is None or player.tcp.state in {State.PENDING, State.SYN_RECEIVED, State.SYN_SENT}:
        return "-1 EAGAIN"
    return str(_new(player, Descriptor(connected=True)))


def _write(player: Player, descriptor: str, _: str, size: str, *__: str) -> str:
    tcp = player.connection
    if tcp.state not in {State.ESTABLISHED, State.CLOSE_WAIT, State.SYN_RECEIVED, State.SYN_SENT}:
        return "-1 EPIPE"
    player.see(tcp.send(player.octets(player.written, int(size)), player.now_s))
    player.written += int(size)
    return size


def _read(player: Player, descriptor: str, _: str, size: str, *flags: str) -> str:
    tcp, buffer = player.connection, bytearray(int(size))
    if flags and "MSG_PEEK" in flags[0]:
        return str(min(tcp.unread_bytes, int(size)) or "-1 EAGAIN")
    count = tcp.read_into(memoryview(buffer))
    if count == WOULD_BLOCK:
        return "-1 EAGAIN"
    if count == BROKEN:
        return "-1 ETIMEDOUT" if player.ever_seen & Seen.TIMED_OUT else "-1 ECONNRESET"
    player.check_read(bytes(buffer[:count]))
    return str(count)


def _shutdown(player: Player, descriptor: str, how: str) -> str:
    if how != "SHUT_RD":
        player.see(player.connection.finish(player.now_s))
    return "0"


def _close(player: Player, descriptor: str) -> str:
    closed = player.descriptors.pop(int(descriptor))
    if closed.connected:
        verb = player.connection.reset if closed.resets_on_close else player.connection.close
        player.see(verb(player.now_s))
    else:
        player.listening = False
    return "0"


def _setsockopt(player: Player, descriptor: str, _: str, option: str, value: str, *__: str) -> str:
    if option == "SO_LINGER" and re.search(r"l_onoff\s*=\s*1.*l_linger\s*=\s*0", value):
        player.descriptors[int(descriptor)].resets_on_close = True
    return "0"


def _grant(player: Player) -> None:
    player.see(player.connection.grant(player.now_s))


def _refuse(player: Player) -> None:
    player.see(player.connection.refuse(player.now_s))


def _reset(player: Player, descriptor: str) -> None:
    player.see(player.connection.reset(player.now_s))


def _watch_tos(player: Player, descriptor: str, mask: str) -> None:
    player.connection.watch_tos(int(mask, 0))


def _let_through(player: Player, descriptor: str) -> None:
    player.see(player.connection.let_through(player.now_s))


def _keepalive(player: Player, descriptor: str, idle: str, interval: str, count: str) -> None:
    player.connection.set_keepalive(float(idle), float(interval), int(count), player.now_s)


def _limit_window(player: Player, descriptor: str, size: str) -> None:
    player.connection.limit_window(int(size))


def _blackhole(player: Player, descriptor: str, on: str) -> None:
    player.connection.blackhole(on == "1")


def _answer_probes(player: Player, descriptor: str, on: str) -> None:
    player.connection.answers_probes = on == "1"


def _answer_probe(player: Player, descriptor: str) -> None:
    player.connection.answer_probe()


def _saw(player: Player, *names: str) -> None:
    player.check_seen(sum(_SEEN[name] for name in names), _SEEN)


def _state(player: Player, name: str) -> None:
    player.check_state(State[name])


CALLS: Final[Mapping[str, Callable[..., str | None]]] = {
    "socket": _socket,
    "bind": _done,
    "listen": _listen,
    "fcntl": _ignored,
    "ioctl": _ignored,
    "poll": _ignored,
    "accept": _accept,
    "connect": _connect,
    "write": _write,
    "send": _write,
    "sendto": _write,
    "read": _read,
    "recv": _read,
    "recvfrom": _read,
    "shutdown": _shutdown,
    "close": _close,
    "setsockopt": _setsockopt,
    "getsockopt": _ignored,
    "assert": _ignored,  # of TCP_INFO, which only kernels have
    "dial": _dial,
    "grant": _grant,
    "refuse": _refuse,
    "reset": _reset,
    "watch_tos": _watch_tos,
    "let_through": _let_through,
    "keepalive": _keepalive,
    "limit_window": _limit_window,
    "blackhole": _blackhole,
    "answer_probes": _answer_probes,
    "answer_probe": _answer_probe,
    "saw": _saw,
    "state": _state,
}
