"""The pool of pipes: which it lends, and when its callers have to copy."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator

import pytest

from relay.net import pipe
from relay.net.pipe import PipePool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has splice")


@pytest.fixture
def pool() -> Iterator[PipePool]:
    pool = PipePool()
    yield pool
    pool.close()


@pytest.mark.parametrize(("size_bytes", "lent"), [(256 * 1024, True), (256 * 1024 - 1, False), (8192, False)])
def test_a_pipe_that_comes_out_too_small_is_not_lent_nor_is_another(
    pool: PipePool, size_bytes: int, lent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "_enlarge", lambda descriptor: size_bytes)
    before = os.listdir("/proc/self/fd")
    assert (pool.borrow() is not None) == lent
    monkeypatch.undo()
    assert (pool.borrow() is not None) == lent
    if not lent:
        assert os.listdir("/proc/self/fd") == before


def test_a_pipe_neither_blocks_nor_is_inherited(pool: PipePool) -> None:
    lent = pool.borrow()
    assert lent is not None
    ends = (lent._read_end, lent._write_end)
    assert [(os.get_blocking(end), os.get_inheritable(end)) for end in ends] == [(False, False)] * 2


def test_at_most_32_are_lent_and_8_are_kept(pool: PipePool) -> None:
    lent = [pool.borrow() for _ in range(33)]
    assert [each is not None for each in lent] == [True] * 32 + [False]
    before = len(os.listdir("/proc/self/fd"))
    for each in lent[:32]:
        assert each is not None
        each.give_back()
    assert before - len(os.listdir("/proc/self/fd")) == 2 * (32 - 8)
    pool.close_idle()
    assert before - len(os.listdir("/proc/self/fd")) == 2 * 32
    assert all(pool.borrow() is not None for _ in range(32))


def test_a_pool_lends_so_many_and_no_more() -> None:
    pool = PipePool()
    lent = [pool.borrow() for _ in range(32)]
    assert all(each is not None and each.size_bytes >= 1 << 18 for each in lent)
    assert pool.borrow() is None
    for each in lent:
        assert each is not None
        each.give_back()
    assert pool.borrow() in lent
    pool.close()


def test_a_pool_keeps_few_and_none_if_asked_to() -> None:
    before = len(os.listdir("/proc/self/fd"))
    pool = PipePool()
    for _ in range(2):
        for each in [pool.borrow() for _ in range(32)]:
            assert each is not None, "what was closed can be lent anew"
            each.give_back()
        assert len(os.listdir("/proc/self/fd")) == before + 2 * 8
        pool.close_idle()
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_pool_that_is_closed_has_none_left_not_even_lent_ones() -> None:
    before = len(os.listdir("/proc/self/fd"))
    pool = PipePool()
    first, second = pool.borrow(), pool.borrow()
    assert first is not None
    assert second is not None
    first.give_back()
    pool.close()
    assert len(os.listdir("/proc/self/fd")) == before
    second.give_back()
    assert pool.borrow() is None


def test_a_pipe_that_holds_bytes_is_not_lent_again(pool: PipePool) -> None:
    first = pool.borrow()
    assert first is not None
    first._level_bytes = 1
    first.give_back()
    assert pool.borrow() is not first


def test_without_a_descriptor_the_caller_has_to_copy(pool: PipePool, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(flags: int) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", no_descriptor)
    assert pool.borrow() is None
    monkeypatch.undo()
    assert pool.borrow() is not None


def test_a_pipe_that_may_not_be_enlarged_has_the_size_that_it_has(
    pool: PipePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, command: int, *size_bytes: int) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            raise PermissionError(errno.EPERM, "not permitted")
        return int(ask(descriptor, command, *size_bytes))

    ask = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    assert pool.borrow() is None, "the size that it has is too small"


def test_what_is_read_from_a_pipe_leaves_it_empty(pool: PipePool) -> None:
    first = pool.borrow()
    assert first is not None
    os.write(first._write_end, b"bytes on their way")
    first._level_bytes = 18
    assert first.read() == b"bytes on their way"
    assert not first
    first.give_back()
    assert pool.borrow() is first
