"""Extended BPF (Linux, Documentation/bpf/standardization/instruction-set.rst): programs, maps, and bpf(2) to load them.

A program is a sequence of instructions and, between them, labels to jump to. It is loaded once and attached to as many
sockets as one likes: 0.8 us each, where a classic program takes 16, for the kernel translates and compiles that one
anew for each socket (measured, Linux 6.18).

What a socket filter may do beyond a classic one, and what it is wanted for here: know the socket that a segment is for
(its cookie, SO_COOKIE), remember things in maps, and tell this process at once, through a ring (`ring.py`).

Needs Linux 5.8, and CAP_BPF: nothing else, where a classic filter on a TCP socket takes CAP_NET_ADMIN.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from typing import NamedTuple, TypeAlias

from relay.errors import Unsupported

NET_HEADER = -0x100000  # SKF_NET_OFF, linux/filter.h: the IP header, as seen from a TCP socket's filter

# Registers: R0 takes what a call or a load from the packet gives; those from R6 on survive calls and such loads.
R0, R1, R2, R3, R4, R6, R7, R8, STACK = 0, 1, 2, 3, 4, 6, 7, 8, 10

# linux/bpf.h
_MAP_CREATE, _PROG_LOAD = 0, 5
_SOCKET_FILTER = 1
LRU_HASH, RINGBUF = 9, 27
MAP_LOOKUP, MAP_UPDATE, GET_SOCKET_COOKIE, RINGBUF_OUTPUT = 1, 2, 46, 130
RING_FORCE_WAKEUP = 2
_PSEUDO_MAP_FD = 1
_ATTRIBUTES_BYTES = 128
# Instructions have their registers the other way round on big-endian machines, and a ring's counts wrap on 32-bit ones.
_NUMBER_OF_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}

_SO_DETACH_FILTER = 27  # asm-generic/socket.h
_SO_ATTACH_BPF = 50
_SO_COOKIE = 57
_COOKIE_BYTES = 8


class Instruction(NamedTuple):
    """One instruction; `goto` names the label that it may jump to."""

    code: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    value: int = 0
    goto: str = ""


Code: TypeAlias = Instruction | str
"""An instruction, or the label of the one behind it."""

_pack = struct.Struct("=BBhi").pack  # struct bpf_insn


def load_packet_byte(at: int) -> Instruction:
    """R0 = the byte `at` in the packet, whose context must be in R6. Ends the program, with 0, if it is not there."""
    return Instruction(0x30, value=at)


def load_packet_word(at: int) -> Instruction:
    """R0 = the four bytes `at` in the packet, likewise."""
    return Instruction(0x20, value=at)


def copy(dst: int, src: int) -> Instruction:
    return Instruction(0xBF, dst, src)


def put(dst: int, value: int) -> Instruction:
    return Instruction(0xB7, dst, value=value)


def add(dst: int, value: int) -> Instruction:
    return Instruction(0x07, dst, value=value)


def mask(dst: int, bits: int) -> Instruction:
    return Instruction(0x57, dst, value=bits)


def xor(dst: int, src: int) -> Instruction:
    return Instruction(0xAF, dst, src)


def store_byte(at: int, src: int) -> Instruction:
    """The stack's byte `at` (below 0) = `src`."""
    return Instruction(0x73, STACK, src, at)


def store_word(at: int, src: int) -> Instruction:
    return Instruction(0x63, STACK, src, at)


def store_double(at: int, src: int) -> Instruction:
    return Instruction(0x7B, STACK, src, at)


def load_word(dst: int, pointer: int, at: int) -> Instruction:
    """`dst` = the four bytes `at` bytes behind where the register `pointer` points to."""
    return Instruction(0x61, dst, pointer, at)


def if_equal(register: int, value: int, goto: str) -> Instruction:
    return Instruction(0x15, register, value=value, goto=goto)


def if_any(register: int, bits: int, goto: str) -> Instruction:
    return Instruction(0x45, register, value=bits, goto=goto)


def call(helper: int) -> Instruction:
    """R0 = helper(R1, R2, ...); R1 to R5 are lost."""
    return Instruction(0x85, value=helper)


def put_map(dst: int, descriptor: int) -> list[Code]:
    """`dst` = the map; takes the place of two instructions."""
    return [Instruction(0x18, dst, _PSEUDO_MAP_FD, value=descriptor), Instruction(0)]


def put_stack(dst: int, at: int) -> list[Code]:
    """`dst` = the address of the stack's byte `at`."""
    return [copy(dst, STACK), add(dst, at)]


def leave(value: int) -> list[Code]:
    """End the program. As a filter's result, 0 drops the segment, -1 lets it pass."""
    return [put(R0, value), Instruction(0x95)]


def assemble(*code: Code) -> bytes:
    """The program in the form in which the kernel takes it.

    Raises:
        KeyError: a jump's label is nowhere.
    """
    places: dict[str, int] = {}
    instructions: list[Instruction] = []
    for each in code:
        if isinstance(each, str):
            places[each] = len(instructions)
        else:
            instructions.append(each)
    return b"".join(
        _pack(each.code, each.dst | each.src << 4, places[each.goto] - at - 1 if each.goto else each.offset, each.value)
        for at, each in enumerate(instructions)
    )


def load_filter(code: bytes) -> int:
    """Load a socket filter; returns its descriptor.

    Raises:
        OSError: the kernel refused it, or us.
    """
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(instructions), ctypes.addressof(licence)
    return _bpf(_PROG_LOAD, struct.pack("=IIQQ", _SOCKET_FILTER, len(code) // 8, *addresses))


def create_map(kind: int, key_bytes: int, value_bytes: int, entries: int) -> int:
    """Create a map; returns its descriptor. `entries` of a ring are bytes.

    Raises:
        OSError: the kernel refused.
    """
    return _bpf(_MAP_CREATE, struct.pack("=IIII", kind, key_bytes, value_bytes, entries))


def attach(sock: socket.socket, filter_descriptor: int) -> None:
    """Make a loaded program the socket's filter, instead of any other. A listener's passes on to what it accepts.

    Raises:
        OSError: the kernel refused.
    """
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, filter_descriptor)


def detach(sock: socket.socket) -> None:
    """Take the socket's filter away, of whichever kind; harmless where there is none.

    Raises:
        OSError: the socket is closed.
    """
    with contextlib.suppress(FileNotFoundError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def cookie_of(sock: socket.socket) -> bytes:
    """A number of the socket's own, which no other will have before the next boot.

    Raises:
        OSError: the socket is closed.
    """
    return sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, _COOKIE_BYTES)


def demand_bpf() -> None:
    """Raise if bpf(2) cannot be called here at all.

    Raises:
        Unsupported: so it is.
    """
    if sys.platform != "linux" or platform.machine() not in _NUMBER_OF_BPF or sys.maxsize < 1 << 32:
        raise Unsupported("no bpf(2) on this system", hint="use relay on Linux")


def _bpf(command: int, attributes: bytes) -> int:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTES_BYTES)
    result: int = syscall(_NUMBER_OF_BPF[platform.machine()], command, buffer, _ATTRIBUTES_BYTES)
    if result < 0:
        number = ctypes.get_errno()
        if number == errno.EPERM:
            raise PermissionError(number, "bpf(2) is refused (CAP_BPF is missing, or a sandbox forbids it)")
        raise OSError(number, f"bpf(2): {os.strerror(number)}")
    return result
