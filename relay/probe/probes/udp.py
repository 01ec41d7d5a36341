"""How the NAT maps UDP, and how long a mapping lasts: notes.

Method (a part of RFC 5780): a socket asks both ports of the server which port they see. Another asks for a reply from a
port that it has sent nothing to. Others ask for one reply after a while, and leave the mapping alone until then: after
one datagram, and after an exchange; the ages are spread, and then between the longest that lived and the shortest that
did not. Last, mappings are refreshed after 0.6 of that, by the app or by the server, and looked at after 1.2 of it.

Confidence: good, three of three, where no datagram is lost: a loss looks like a mapping that is gone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import anyio

from relay.address import Endpoint
from relay.errors import ProtocolError, RelayError
from relay.probe.ages import MOST_ROUNDS, Fate, between, bracket, is_narrow, spread
from relay.probe.client.lab import Lab, use_until_settled
from relay.probe.client.udp import UdpSocket, open_udp
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.datagrams import ECHO, LATER, OTHER, QUIET, Reply, Request, read_reply, write_request

_FIRST_AGE_S = 5.0
_AGES, _BETWEEN = 10, 4
_TRIES = 3  # a datagram may be lost
_REFRESH, _USE = 0.6, 1.2  # shares of the limit


async def _run(lab: Lab) -> None:
    try:
        udp = await _begin(lab)
        if udp is None:
            lab.findings.note("UDP: no answer from the server")
            return
        await _tell_mapping(lab, udp)
        limits_s: dict[bool, float | None] = {}
        async with anyio.create_task_group() as tasks:
            for exchanged in (False, True):
                tasks.start_soon(_tell_lifetime, lab, udp, exchanged, limits_s)
        if (limit_s := limits_s.get(True)) is not None:
            await _tell_refresh(lab, udp, limit_s)
    except RelayError as error:
        lab.findings.note(f"UDP: not measured: {error}")


class Udp:
    """What the probe's sockets have in common: the server, the session's key, and numbers that count once."""

    def __init__(self, lab: Lab, target: Endpoint, other: Endpoint) -> None:
        self.target = target
        self.other = other
        self._lab = lab
        self._key = lab.control.key
        self._numbers: Iterator[int] = itertools.count(1)

    def ask(self, sock: UdpSocket, what: int, times_s: tuple[float, float] = (0.0, 0.0), *, other: bool = False) -> int:
        """Send a request; returns its number. Times are of the NAT's clock."""
        number = next(self._numbers)
        first_s, second_s = (time_s / self._lab.clock.scale for time_s in times_s)
        request = Request(self._lab.control.session, number, what, (first_s, second_s))
        sock.send(write_request(request, self._key), self.other if other else self.target)
        return number

    async def reply(self, sock: UdpSocket, number: int, index: int = 0) -> Reply:
        """The reply, once it comes; the caller limits it."""
        while True:
            data = await sock.receive()
            try:
                reply = read_reply(data, self._key)
            except ProtocolError:
                continue
            if (reply.sequence, reply.index) == (number, index):
                return reply

    async def answered(self, sock: UdpSocket, what: int = ECHO, *, other: bool = False) -> Reply | None:
        """What a request is answered with at once, after some tries."""
        for _ in range(_TRIES):
            number = self.ask(sock, what, other=other)
            with self._lab.clock.patience(self._lab.plan.patience_s / _TRIES):
                return await self.reply(sock, number)
        return None


async def _begin(lab: Lab) -> Udp | None:
    targets = []
    for place in (lab.main, lab.other):
        if place.ip is None:
            found = await anyio.getaddrinfo(place.host, place.port)
            targets.append(Endpoint(str(found[0][4][0]), place.port))
        else:
            targets.append(place)
    udp = Udp(lab, *targets)
    async with open_udp(lab.dialer, udp.target) as sock:
        return udp if await udp.answered(sock) is not None else None


async def _tell_mapping(lab: Lab, udp: Udp) -> None:
    async with open_udp(lab.dialer, udp.target) as sock, open_udp(lab.dialer, udp.target) as fresh:
        one, two = await udp.answered(sock), await udp.answered(sock, other=True)
        if one is None:
            return
        if two is not None:
            alike = (one.host, one.port) == (two.host, two.port)
            lab.findings.note(f"UDP: both ports of the server see {'the same port' if alike else 'ports that differ'}")
        if lab.dialer.via is None:
            kept = "the app's own" if one.port == sock.port else "another than the app's"
            lab.findings.note(f"UDP: the server sees a port that is {kept}")
        through = await udp.answered(fresh, OTHER) is not None
        lab.findings.note(
            f"UDP: what comes from another port of the server {'is' if through else 'is not'} let through"
        )


async def _tell_lifetime(lab: Lab, udp: Udp, exchanged: bool, limits_s: dict[bool, float | None]) -> None:
    fates: list[Fate] = []

    async def use(lab: Lab, age_s: float, fates: list[Fate]) -> None:
        fates.append(Fate(age_s, await _lives(lab, udp, age_s, exchanged=exchanged)))

    await use_until_settled(lab, use, spread(_FIRST_AGE_S, lab.plan.max_udp_s, _AGES), fates)
    lived_s, died_s = bracket(fates)
    for _ in range(MOST_ROUNDS):
        if died_s is None or is_narrow(lived_s, died_s):
            break
        async with anyio.create_task_group() as tasks:
            for age_s in between(lived_s, died_s, _BETWEEN):
                for _ in range(lab.plan.rounds):
                    tasks.start_soon(use, lab, age_s, fates)
        lived_s, died_s = bracket(fates)
    after = "an exchange" if exchanged else "one datagram"
    limits_s[exchanged] = died_s
    if died_s is None:
        lab.findings.note(f"UDP: after {after} a mapping was there for {lived_s:.5g} s, the longest that was tried")
    else:
        lab.findings.note(f"UDP: after {after} a mapping was there for {lived_s:.5g} s, and gone after {died_s:.5g} s")


async def _lives(lab: Lab, udp: Udp, age_s: float, *, exchanged: bool) -> bool:
    """Whether a reply gets through that comes so long after the last datagram."""
    async with open_udp(lab.dialer, udp.target) as sock:
        if exchanged and await udp.answered(sock) is None:
            return False
        number = udp.ask(sock, LATER, (age_s, 0.0))
        with lab.clock.limit(age_s + lab.plan.patience_s * lab.clock.scale):
            await udp.reply(sock, number)
            return True
    return False


async def _tell_refresh(lab: Lab, udp: Udp, limit_s: float) -> None:
    lived: dict[bool, list[bool]] = {True: [], False: []}

    async def refresh(by_app: bool) -> None:
        lived[by_app].append(await _is_refreshed(lab, udp, limit_s, by_app=by_app))

    async with anyio.create_task_group() as tasks:
        for by_app in lived:
            for _ in range(lab.plan.rounds):
                tasks.start_soon(refresh, by_app)
    for by_app, fates in lived.items():
        what = "what the app sends" if by_app else "what comes from the server"
        lab.findings.note(f"UDP: {what} kept a mapping {sum(fates)} times of {len(fates)}")


async def _is_refreshed(lab: Lab, udp: Udp, limit_s: float, *, by_app: bool) -> bool:
    refresh_s, use_s = _REFRESH * limit_s, _USE * limit_s
    async with open_udp(lab.dialer, udp.target) as sock:
        if await udp.answered(sock) is None:
            return False
        times_s = (use_s, 0.0) if by_app else (refresh_s, use_s)
        number = udp.ask(sock, LATER, times_s)
        if by_app:
            await lab.clock.sleep(refresh_s)
            udp.ask(sock, QUIET)
        with lab.clock.limit(use_s + lab.plan.patience_s * lab.clock.scale):
            await udp.reply(sock, number, 0 if by_app else 1)
            return True
    return False


def _takes_s(plan: Plan) -> float:
    return 3 * plan.max_udp_s


PROBE = Probe("udp", _run, _takes_s, is_quick=False)
