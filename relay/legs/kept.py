"""Copies of bytes that have to wait, in memory that is used again and again.

What a pump reads in one go is 256 KiB. Fresh memory for as much comes from the kernel page by page, each cleared and
given back a moment later: a third of the CPU time of a flow whose bytes wait. So blocks of that size are kept, a few.
"""

from __future__ import annotations

_BLOCK_BYTES = 256 << 10  # what a pump reads at most
_LARGE_BYTES = 64 << 10  # smaller copies come from memory that the process has anyway
_MOST_KEPT = 16
_kept: list[bytearray] = []


def copied(data: bytes | bytearray | memoryview) -> memoryview:
    """The bytes as they are now."""
    size = len(data)
    if not _LARGE_BYTES <= size <= _BLOCK_BYTES:
        return memoryview(bytes(data))
    try:
        block = _kept.pop()
    except IndexError:
        block = bytearray(_BLOCK_BYTES)
    view = memoryview(block)[:size]
    view[:] = data
    return view


def give_back(view: memoryview) -> None:
    """Have the memory of a copy, or of a part of it, for another one: it is not read any more."""
    block = view.obj
    if isinstance(block, bytearray) and len(_kept) < _MOST_KEPT:
        _kept.append(block)
