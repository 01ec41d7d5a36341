"""From the front end to the destination a client's first bytes come by each module once: none hands them back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from types import FrameType

import pytest

import relay
from relay.frontends import Conversation
from support.memory_driver import MemoryDriver, forward, proxy

_ROOT = str(Path(relay.__file__).parent)
_FIRST = b"the first bytes"
_SOCKS5 = b"\x05\x01\x00"
_SOCKS5_CONNECT = b"\x05\x01\x00\x01\xc0\x00\x02\x50\x00\x50"
_HTTP_CONNECT = b"CONNECT 192.0.2.80:80 HTTP/1.1\r\nHost: 192.0.2.80\r\n\r\n"

_LEG = "testing/_memory_leg"  # by which they come, and by which they go


def modules_that_get(data: bytes, action: Callable[[], None]) -> list[str]:
    """The modules whose functions are called with these bytes among their arguments, in order."""
    found: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_ROOT):
            arguments = frame.f_code.co_varnames[: frame.f_code.co_argcount]
            values = (frame.f_locals.get(name) for name in arguments)
            if any(isinstance(value, bytes | bytearray | memoryview) and data in bytes(value) for value in values):
                found.append(str(Path(frame.f_code.co_filename).relative_to(_ROOT).with_suffix("")))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return [module for module, _ in groupby(found) if module != _LEG]


@pytest.mark.parametrize(
    ("conversation", "words", "first"),
    [
        (forward, [_FIRST], "driver/flow"),
        (proxy, [_SOCKS5, _SOCKS5_CONNECT + _FIRST], "frontends/proxy"),
        (proxy, [_HTTP_CONNECT + _FIRST], "frontends/proxy"),
    ],
    ids=["forward", "socks5", "http-connect"],
)
def test_they_come_by_each_module_once(
    conversation: Callable[[], Conversation], words: list[bytes], first: str
) -> None:
    nat = MemoryDriver()
    client = nat.call(conversation())
    for word in words[:-1]:
        client.says(word)
        nat.settle()
    client.says(words[-1])

    def reach_the_server() -> None:
        nat.settle()
        assert nat.answer().hears() == _FIRST

    visited = modules_that_get(_FIRST, reach_the_server)
    assert (visited[0], visited[-3:]) == (first, ["driver/flow", "driver/carrying", "net/pump"])
    assert len(set(visited)) == len(visited), visited
