"""Classic BPF programs, run by the kernel they are for."""

from __future__ import annotations

import gc
import socket
import tracemalloc
from collections.abc import Callable

import pytest

from relay.observe.kernel.bpf import (
    MAX_INSTRUCTIONS,
    accept,
    drop,
    if_any,
    if_equal,
    load_byte,
    load_half,
    mask,
    program,
)
from relay.observe.kernel.wake import MAX_EXCEPTIONS, _exception, wake_program

SO_ATTACH_FILTER = 26


@pytest.mark.parametrize(
    ("first", "second", "passes"),
    [(0x48, 0x01, True), (0x4F, 0x01, True), (0x08, 0x01, False), (0x48, 0x02, False)],
)
def test_jumps_go_where_they_say(require: Callable[..., None], first: int, second: int, passes: bool) -> None:
    require("linux")
    code = program(
        load_byte(8),  # behind the UDP header
        mask(0xF0),
        if_equal(0x40, otherwise=3),
        load_half(8),
        if_any(0x01, otherwise=1),
        accept(),
        drop(),
    )
    with socket.socket(type=socket.SOCK_DGRAM) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, code.fprog)
        receiver.settimeout(60)
        sender.sendto(bytes((first, second)), receiver.getsockname())
        sender.sendto(b"\x41\x01", receiver.getsockname())
        assert receiver.recv(2) == (bytes((first, second)) if passes else b"\x41\x01")


@pytest.mark.parametrize("code", [[], [load_byte(0)], [drop()] * (MAX_INSTRUCTIONS + 1)])
def test_a_program_that_the_kernel_would_refuse_is_refused(code: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(ValueError, match="ends in RET"):
        program(*code)


def test_the_largest_wake_program_is_one_the_kernel_takes(require: Callable[..., None]) -> None:
    require("linux", "cap_net_raw")
    exceptions = [_exception(index.to_bytes(12, "big"), 0x40, 0xE0) for index in range(MAX_EXCEPTIONS)]
    largest = wake_program(0xE0, set(range(1, 33)), set(range(33, 65)), exceptions)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as packets:
        packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, largest.fprog)


def test_with_too_many_ports_every_port_is_looked_at() -> None:
    few = wake_program(0xE0, set(range(1, 65)), set())
    many = wake_program(0xE0, set(range(1, 66)), set())
    assert len(many.instructions) < len(few.instructions)
    assert many.instructions[-1] == accept(68)


def test_programs_of_many_lengths_leave_nothing_behind() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for length in range(1, 300):
            program(*[drop()] * length)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
