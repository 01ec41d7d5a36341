"""The relay under soak, in a process of its own: commands on standard input, replies and records on standard output.

Both are JSON lines. The commands run in the relay's own event loop, one after the other, without a task or a thread of
their own, so that what they count is the relay's.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio

from relay.address import Endpoint, ForwardSpec
from relay.backend import choose_backend
from relay.config import configure
from relay.driver.flow import Flow
from relay.events import Side
from relay.log import EventLog, Record
from relay.net.kernel_leg import KernelLeg
from relay.net.pipe import Pipe
from relay.server import Relay, open_relay

_READ_BYTES = 1 << 16


def _put(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _record(record: Record) -> None:
    _put(event=record.event, flow=record.flow, fields=dict(record.fields))


async def _commands() -> AsyncIterator[dict[str, Any]]:
    said, descriptor = b"", sys.stdin.fileno()
    while True:
        await anyio.wait_readable(descriptor)
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            return
        *lines, said = (said + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _perform(relay: Relay, command: dict[str, Any]) -> object:
    match command["do"]:
        case "forward":
            spec = ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", command["port"]))
            return relay.forward(spec, Side(command["initiator"])).port
        case "freeze":
            relay.freeze(Side(command["side"]))
        case "thaw":
            relay.thaw(Side(command["side"]))
        case "adjust":
            relay.adjust(*command["settings"])
        case "answer":
            pass
        case "count":
            return _count(relay)
    return None


def _count(relay: Relay) -> dict[str, int]:
    """What the relay has, when all that is garbage was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    objects = gc.get_objects()
    return {
        "flows": relay.flow_count,
        "tasks": len(anyio.get_running_tasks()),
        "held": sum(isinstance(each, Flow | KernelLeg) for each in objects),
        "pipes": sum(isinstance(each, Pipe) for each in objects),
        "blocks": sys.getallocatedblocks(),
    }


async def _serve(profile: str, seed: int) -> None:
    log = EventLog()
    log.subscribe(_record)
    async with open_relay(configure(profile, listen="127.0.0.1:0", seed=seed), log) as relay:
        assert relay.address is not None
        _put(reply=relay.address.port)
        async for command in _commands():
            _put(reply=_perform(relay, command))


if __name__ == "__main__":
    _backend, _profile, _seed = sys.argv[1:]
    _library, _options = choose_backend(_backend)
    anyio.run(_serve, _profile, int(_seed), backend=_library, backend_options=_options)
