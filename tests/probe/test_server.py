"""The probe server: what it does for a client with the token, and that it does nothing for others."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from relay.address import Endpoint
from relay.errors import ConfigError, RelayError
from relay.handles import open_relay
from relay.probe import Plan, ProbeServer, one_error, open_probe_server
from relay.probe.client.control import open_control
from relay.probe.client.dial import Connected, Dialer
from relay.probe.client.lab import Lab, Trial
from relay.probe.client.proxy import Proxy
from relay.probe.clock import ProbeClock
from relay.probe.protocol.lines import as_line
from relay.probe.protocol.steps import FIN, RST, Read, Send, Wait
from relay.probe.server import limits
from relay.probe.stream import Broken, Stream
from support.origins import Origin

pytestmark = pytest.mark.anyio
_TOKEN = b"0123456789abcdef"


@asynccontextmanager
async def session(server: ProbeServer, token: bytes = _TOKEN) -> AsyncIterator[Lab]:
    clock = ProbeClock()
    dialer = Dialer(clock)

    async def dial() -> Connected:
        return await dialer.connect(server.address, 5)

    with one_error():
        async with open_control(dial, token, clock, str(server.address)) as control:
            lab = Lab(clock, Plan(patience_s=0.5), control, dialer, server.address, server.other.address)
            control.at_end(lab.close)
            yield lab


async def answer_to(server: ProbeServer, data: bytes) -> bytes:
    """Everything that the server says to a connection that begins so, until it closes it."""
    connected = await Dialer(ProbeClock()).connect(server.address, 5)
    assert isinstance(connected, Stream)
    got = b""
    try:
        await connected.send(data)
        with anyio.fail_after(60):
            while more := await connected.receive():
                got += more
    except Broken:
        pass
    finally:
        connected.close()
    return got


async def test_a_script_is_done_and_both_ends_report() -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server, session(server) as lab:
        trial = await lab.open(Read(3, 5), Send(7), FIN)
        assert isinstance(trial, Trial)
        await trial.send(3)
        await trial.hear()
        assert (trial.seen.count("bytes"), trial.seen.end) == (7, "fin")
        report = await trial.their_report()
        assert (report.count("bytes"), report.count("sent")) == (3, 7)


@pytest.mark.parametrize(
    "data",
    [b"\1", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(40), b"\0rp\x01" + bytes(28), b"\0rp\x02" + bytes(28)],
)
async def test_what_is_neither_control_nor_a_genuine_head_gets_no_byte(data: bytes) -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server:
        assert await answer_to(server, data) == b""


async def test_a_connection_that_is_left_alone_has_no_ack_left_to_send() -> None:
    """It would meet a NAT that has forgotten the connection, and that NAT's RST."""
    async with (
        open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server,
        open_relay("transparent") as nat,
        session(server) as lab,
    ):
        lab.dialer = Dialer(lab.clock, Proxy("socks5", nat.address))  # whose words are an exchange: ACKs wait for data
        trials = [await lab.open_quiet(Wait(5)) for _ in range(5)]
        sent = [trial.state()["segments_out"] for trial in trials if isinstance(trial, Trial)]
        await anyio.sleep(0.06)  # Linux delays an ACK by 40 ms
        assert sent == [trial.state()["segments_out"] for trial in trials if isinstance(trial, Trial)]
        assert len(sent) == 5


async def test_a_head_counts_once() -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server, session(server) as lab:
        trial = await lab.open(Send(1), RST)
        assert isinstance(trial, Trial)
        await trial.hear()
        assert trial.seen.count("bytes") == 1
        assert await answer_to(server, lab.control.head(trial.number)) == b""


async def test_a_forged_head_does_nothing_and_leaves_the_script_to_the_genuine_one() -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server, session(server) as lab:
        number = lab.control.new_number()
        await lab.control.ask("script", number=number, steps=[["send", 3]])
        head = lab.control.head(number)
        assert await answer_to(server, head[:-1] + bytes([head[-1] ^ 1])) == b""
        assert await answer_to(server, head) == b"..."


@pytest.mark.parametrize("token", [b"", b"another token 123"])
async def test_another_token_is_refused_in_words(token: bytes) -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server:
        with pytest.raises(ConfigError, match="another token") as refused:
            async with session(server, token):
                pass
        assert "--token-file" in refused.value.hint


async def test_another_version_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.probe.client.control.VERSION", 2)
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server:
        with pytest.raises(ConfigError, match="speaks version 1") as refused:
            async with session(server):
                pass
        assert "same version" in refused.value.hint


async def test_no_server_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = Endpoint(*closed.getsockname())
    with pytest.raises(ConfigError, match=r"cannot reach the probe server at .*: refused"):
        async with session(ProbeServer(address, _TOKEN, lambda line: None, ProbeClock())):
            pass


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", b"{}\n"])
async def test_a_server_that_is_another_is_named(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.probe.client.control._ANSWER_S", 0.1)

    def answer(connection: socket.socket) -> None:
        connection.sendall(said)
        connection.recv(1000)
        connection.recv(1000)

    with Origin(answer) as origin:
        server = ProbeServer(Endpoint("127.0.0.1", origin.port), _TOKEN, lambda line: None, ProbeClock())
        with pytest.raises(ConfigError, match="does not answer as a probe server does") as refused:
            async with session(server):
                pass
    assert "relay probe server" in refused.value.hint


async def test_beyond_loopback_there_is_no_server_without_a_token() -> None:
    with pytest.raises(ConfigError, match="without a token"):
        async with open_probe_server(Endpoint("0.0.0.0", 0)):
            pass


async def test_a_dead_control_connection_comes_back_with_what_waited() -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server, session(server) as lab:
        trial = await lab.open(Read(1, 5), Send(1))
        assert isinstance(trial, Trial)
        assert lab.control._stream is not None
        lab.control._stream.sock.shutdown(socket.SHUT_RDWR)
        await trial.send()
        await trial.hear()
        assert (await trial.their_report()).count("bytes") == 1
        assert lab.control.reconnected == 1
        await lab.control.ask("ping")


async def test_a_session_has_so_many_connections_and_bytes_at_most() -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server, session(server) as lab:
        for number in range(1, limits.MAX_CONNECTIONS + 1):
            await lab.control.ask("script", number=number, steps=[["fin"]])
        with pytest.raises(RelayError, match="at most 256 connections"):
            await lab.control.ask("script", number=1000, steps=[["fin"]])
        for number in range(1, limits.MAX_CONNECTIONS + 1):
            await lab.control.ask("forget", number=number)

        async def announce_many() -> None:
            for number in range(1000, 1100):
                await lab.control.ask("script", number=number, steps=[["send", 65_536]] * 16)
                await lab.control.ask("forget", number=number)

        with pytest.raises(RelayError, match="at most 10 MiB"):
            await announce_many()


async def test_there_are_so_many_sessions_at_most_and_one_that_is_left_makes_room() -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server, session(server), session(server):
        async with session(server), session(server):
            with pytest.raises(ConfigError, match="4 sessions already"):
                async with session(server):
                    pass
        async with session(server):
            with anyio.fail_after(60):
                while True:
                    try:
                        async with session(server) as lab:
                            await lab.control.ask("ping")
                            return
                    except ConfigError:
                        await anyio.sleep(0.01)


async def test_the_other_port_is_closed_open_or_silent_and_one_sessions_at_a_time() -> None:
    async with (
        open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server,
        session(server) as lab,
        session(server) as another,
    ):

        async def how() -> str:
            connected = await lab.connect(lab.other, within_s=0.2)
            if isinstance(connected, Stream):
                connected.close()
                return "open"
            return connected.how

        assert await how() == "refused"
        async with lab.other_port("open"):
            assert await how() == "open"
            with pytest.raises(RelayError, match="another session"):
                await another.control.ask("other", **{"as": "hole"}, for_s=1)
        assert await how() == "refused"
        async with lab.other_port("hole"):
            assert await how() == "silence"
        assert await how() == "refused"


async def test_connections_are_held_as_many_as_were_asked_for() -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server, session(server) as lab:

        async def hold() -> tuple[Stream, bytes]:
            stream = await lab.connect(server.address)
            assert isinstance(stream, Stream)
            await stream.send(lab.held_head())
            return stream, await stream.receive()

        assert (await hold())[1] == b""
        async with lab.holding(2):
            held = [await hold() for _ in range(3)]
            assert [said for _, said in held] == [b".", b".", b""]
            held[0][0].close()
            await held[1][0].send(b"...")
            with anyio.fail_after(60):
                while (await hold())[1] != b".":
                    pass
        assert await held[1][0].receive() == b""
        assert (await hold())[1] == b""


async def test_mangled_requests_end_their_connection_and_the_server_stays_up() -> None:
    chance = random.Random(3)  # noqa: S311 - which bytes are mangled
    line = as_line({"relay-probe": 1, "nonce": "0" * 32})
    async with open_probe_server(Endpoint("127.0.0.1", 0), _TOKEN) as server:
        for _ in range(300):
            mangled = bytearray(line)
            for _ in range(chance.randrange(1, 6)):
                mangled[chance.randrange(1, len(line))] = chance.randrange(256)
            if b"\n" not in mangled:
                mangled[-1:] = b"\n"
            answer = await answer_to(server, bytes(mangled) + b"{}\n")
            assert len(answer.splitlines()) <= 2
        async with session(server) as lab:
            for request in (
                {"do": 7},
                {"do": "script"},
                {"do": "other", "as": "x"},
                {"do": "forget", "number": -1},
                {"do": "hold", "most": 1 << 20},
            ):
                with pytest.raises(RelayError, match="refuses"):
                    await lab.control.ask(**request)
            await lab.control.ask("ping")
