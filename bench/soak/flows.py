"""Plays one flow after the other: connects, has both ends do their part, and asks for the verdict.

A slot has its own destinations, so what arrives there, and what the relay records about them, is its flow.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass

from bench.soak import http
from bench.soak.ends import End, reset
from bench.soak.openings import Refused, ask, check_status, destination, request
from bench.soak.parts import act
from bench.soak.plans import Plan, Story
from bench.soak.streams import Pad, Stream
from bench.soak.subject import Subject, Tale
from bench.soak.verdicts import judge, judge_refusal
from bench.soak.weather import Weather
from relay.events import Side

_BACKLOG = 64
_SMALL_BUFFER_BYTES = 1 << 15


@dataclass(frozen=True)
class Target:
    """A port of the loopback, and the relay's forwards to it."""

    sock: socket.socket
    port: int
    forward_port: int
    inbound_port: int

    def way_in(self, front_end: str, subject: Subject) -> tuple[str, int]:
        """Where an initiator connects to get here."""
        ports = {"forward": self.forward_port, "inbound": self.inbound_port}
        return "127.0.0.1", ports.get(front_end, subject.proxy_port)


async def open_target(subject: Subject, *, listens: bool) -> Target:
    """A target that listens, or one that refuses, and goes on to: its port is taken."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    if listens:
        sock.listen(_BACKLOG)
    port = sock.getsockname()[1]
    internal, external = [await subject.command("forward", port=port, initiator=side.value) for side in Side]
    return Target(sock, port, internal, external)


async def serve_void(listener: socket.socket, failures: list[str]) -> None:
    """Be where the initiators that vanish wanted to go: nothing may come but a request, and that is answered."""
    loop = asyncio.get_running_loop()

    async def serve(connection: socket.socket) -> None:
        said = b""
        with connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while data := await loop.sock_recv(connection, 1 << 12):
                said += data
                if said.endswith(b"\r\n\r\n"):
                    await loop.sock_sendall(connection, http.response_head(0))
        if said and not said.startswith(b"POST"):
            failures.append(f"an initiator that vanished silently said {said!r}")

    async with asyncio.TaskGroup() as tasks:
        while True:
            connection, _ = await loop.sock_accept(listener)
            tasks.create_task(serve(connection))


class Slot:
    """Where one flow after the other is played."""

    def __init__(
        self, subject: Subject, weather: Weather, pad: Pad, *, served: Target, refusing: Target, void: Target
    ) -> None:
        self._subject = subject
        self._weather = weather
        self._pad = pad
        self._served = served
        self._refusing = refusing
        self._void = void
        self.tale = Tale()
        """What the relay records about the flow that is being played."""

    async def play(self, plan: Plan) -> int:
        """Play the plan; returns how many bytes arrived.

        Raises:
            Unexpected, WrongByte, WrongReply, OSError: something came of it that must not.
        """
        self.tale = Tale()
        with _initiator(plan) as sock:
            if plan.story is Story.VANISHES:
                await self._vanish(plan, sock)
                return 0
            if plan.story is Story.REFUSED:
                await self._be_refused(plan, sock)
                return 0
            return await self._carry(plan, sock)

    async def _connect(self, plan: Plan, sock: socket.socket, target: Target) -> None:
        await asyncio.get_running_loop().sock_connect(sock, target.way_in(plan.front_end, self._subject))

    # Flows that come to nothing

    async def _vanish(self, plan: Plan, sock: socket.socket) -> None:
        await self._connect(plan, sock, self._void)
        said = request(plan.front_end, self._void.port)
        await asyncio.get_running_loop().sock_sendall(sock, said[: round(len(said) * plan.leaves_at)])
        if plan.leaves_by_rst:
            async with self._weather.external_thawed:
                reset(sock)

    async def _be_refused(self, plan: Plan, sock: socket.socket) -> None:
        port, outcome = self._refusing.port, "granted"
        async with self._weather.opening() as settings:
            self.tale = self._subject.expect(destination(plan.front_end, port))
            try:
                await self._connect(plan, sock, self._refusing)
                early = http.first_head(plan, port) if plan.front_end == "http" else b""
                await ask(sock, plan.front_end, port, early)
                said = await asyncio.get_running_loop().sock_recv(sock, 1 << 12)
                if plan.front_end == "http" and said:
                    check_status("http", said)
            except Refused:
                outcome = "refused"
            except (ConnectionResetError, BrokenPipeError):
                outcome = "reset"
            sock.close()
            await self.tale.ended.wait()
        judge_refusal(plan, settings, outcome, self.tale)

    # Flows that carry something

    async def _carry(self, plan: Plan, sock: socket.socket) -> int:
        loop, port = asyncio.get_running_loop(), self._served.port
        async with self._weather.opening() as settings:
            self.tale = self._subject.expect(destination(plan.front_end, port))
            await self._connect(plan, sock, self._served)
            stream = self._stream(plan, plan.initiator)
            early = http.first_head(plan, port) if plan.front_end == "http" else stream.piece(0, plan.early_bytes)
            await ask(sock, plan.front_end, port, early)
            other, _ = await loop.sock_accept(self._served.sock)
            await self.tale.connected.wait()  # an initiator that leaves before that vanishes: another story
            if plan.front_end == "inbound":
                # The relay watches a socket that it dialled from the moment on when it finds it connected.
                await self._subject.command("answer")
        with other:
            _prepare(plan, other)
            socks = {plan.initiator: sock, plan.initiator.other: other}
            ends = {side: self._end(plan, side, socks[side]) for side in Side}
            ends[plan.initiator].sent_bytes = plan.early_bytes
            async with asyncio.TaskGroup() as tasks:
                for side, end in ends.items():
                    tasks.create_task(act(plan, side, end, port, self._weather.external_thawed))
        await self.tale.ended.wait()
        judge(plan, settings, ends, self.tale, exact=self._subject.fidelity.get("tos-reset") == "exact")
        return sum(end.received_bytes for end in ends.values())

    def _stream(self, plan: Plan, sender: Side) -> Stream:
        return self._pad.stream(plan.number, sender.value, plan.sizes[sender])

    def _end(self, plan: Plan, side: Side, sock: socket.socket) -> End:
        sends, takes = self._stream(plan, side), self._stream(plan, side.other)
        return End(sock, sends, takes, plan.sending[side], plan.receiving[side.other])


def _initiator(plan: Plan) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, plan.syn_tos)
    _prepare(plan, sock)
    return sock


def _prepare(plan: Plan, sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if plan.small_buffers:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _SMALL_BUFFER_BYTES)
