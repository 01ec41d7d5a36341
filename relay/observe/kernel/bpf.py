"""Classic BPF programs (Linux, Documentation/networking/filter.rst), assembled and packed.

An instruction is (code, jump if true, jump if false, k). A program ends in RET: 0 drops the segment, any other number
lets so many bytes of it pass. Where a TCP socket's filter runs, the packet begins at the TCP header and the IP header
is reached at `NET_HEADER`; where a datagram AF_PACKET socket's runs, it begins at the IP header.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TypeAlias

Instruction: TypeAlias = tuple[int, int, int, int]

NET_HEADER = -0x100000  # SKF_NET_OFF, linux/filter.h
EVERYTHING = 0xFFFFFFFF
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS, linux/bpf_common.h
SO_ATTACH_FILTER = 26  # asm-generic/socket.h

_LD_W_ABS, _LD_B_ABS, _LD_H_ABS = 0x20, 0x30, 0x28
_LD_W_IND, _LD_B_IND, _LD_H_IND = 0x40, 0x50, 0x48
_LDX_MSH, _AND_K, _JEQ_K, _JSET_K, _RET_K = 0xB1, 0x54, 0x15, 0x45, 0x06


# One format for all: the struct module keeps each that it is given, and one as long as a program is 10 KB.
_pack = struct.Struct("=HBBI").pack  # struct sock_filter, linux/filter.h


class Program:
    """A program in the form in which the kernel takes it: `fprog`, a struct sock_fprog.

    It points into memory that lives as long as this object does.
    """

    def __init__(self, instructions: list[Instruction]) -> None:
        self.instructions = tuple(instructions)
        packed = b"".join(_pack(code, then, otherwise, k & 0xFFFFFFFF) for code, then, otherwise, k in instructions)
        self._memory = ctypes.create_string_buffer(packed, len(packed))
        self.fprog = struct.pack("@HP", len(instructions), ctypes.addressof(self._memory))


def program(*instructions: Instruction) -> Program:
    """Assemble a program.

    Raises:
        ValueError: it is longer than the kernel takes, or does not end in a RET.
    """
    if not instructions or len(instructions) > MAX_INSTRUCTIONS or instructions[-1][0] != _RET_K:
        raise ValueError(f"a program has 1 to {MAX_INSTRUCTIONS} instructions and ends in RET")
    return Program(list(instructions))


def attach(sock: socket.socket, filter_program: Program) -> None:
    """Make a program the socket's filter, instead of any other.

    Raises:
        OSError: the kernel refused. On a TCP socket it does so without CAP_NET_ADMIN.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_program.fprog)
    except PermissionError as refusal:
        raise PermissionError(refusal.errno, "a socket filter was refused (CAP_NET_ADMIN is missing)") from refusal


def load_word(at: int) -> Instruction:
    return (_LD_W_ABS, 0, 0, at)


def load_half(at: int) -> Instruction:
    return (_LD_H_ABS, 0, 0, at)


def load_byte(at: int) -> Instruction:
    return (_LD_B_ABS, 0, 0, at)


def load_word_x(at: int) -> Instruction:
    """Load four bytes `at` bytes behind the index register."""
    return (_LD_W_IND, 0, 0, at)


def load_half_x(at: int) -> Instruction:
    """Load two bytes `at` bytes behind the index register."""
    return (_LD_H_IND, 0, 0, at)


def load_byte_x(at: int) -> Instruction:
    """Load a byte `at` bytes behind the index register."""
    return (_LD_B_IND, 0, 0, at)


def index_by_ip_header(at: int) -> Instruction:
    """Set the index register to the length of the IPv4 header that begins `at`."""
    return (_LDX_MSH, 0, 0, at)


def mask(bits: int) -> Instruction:
    return (_AND_K, 0, 0, bits)


def if_equal(value: int, *, then: int = 0, otherwise: int = 0) -> Instruction:
    """Skip `then` instructions if the accumulator equals `value`, else `otherwise`."""
    return (_JEQ_K, then, otherwise, value)


def if_any(bits: int, *, then: int = 0, otherwise: int = 0) -> Instruction:
    """Skip `then` instructions if the accumulator has any of `bits`, else `otherwise`."""
    return (_JSET_K, then, otherwise, bits)


def accept(size_bytes: int = EVERYTHING) -> Instruction:
    return (_RET_K, 0, 0, size_bytes)


def drop() -> Instruction:
    return (_RET_K, 0, 0, 0)
