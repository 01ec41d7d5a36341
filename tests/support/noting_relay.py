"""A relay that takes note of commands and carries nothing, and what asks it as toxiproxy's clients do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import anyio.lowlevel
import pytest

from relay.address import Endpoint, ForwardSpec
from relay.control import CloseForward, Command, OpenForward
from relay.control_api.exchange import Refused, Request
from relay.control_api.toxiproxy import Proxies, ToxiproxyRoutes
from relay.errors import ConfigError
from relay.server import Started


class Noting:
    """A relay that takes note of commands; its forwards listen on ports from 1001 on."""

    def __init__(self) -> None:
        self.done: list[Command[Any]] = []
        self.targets: dict[Endpoint, Endpoint] = {}
        self.forward_settings: Mapping[Endpoint, tuple[str, ...]] = {}
        self._opened = 0

    @property
    def forward_addresses(self) -> list[Endpoint]:
        return list(self.targets)

    async def carry_out(self, command: Command[Any]) -> Any:
        await anyio.lowlevel.checkpoint()
        self.done.append(command)
        match command:
            case OpenForward(ForwardSpec(bind, target)):
                if bind.port == 7:
                    raise ConfigError("bind: cannot listen on 127.0.0.1:7: taken", hint="name another")
                self._opened += 1
                address = bind if bind.port else Endpoint(bind.host, 1000 + self._opened)
                self.targets[address] = target
                return address
            case CloseForward(address):
                del self.targets[address]
                return 1
        return None


class Asker:
    """Asks for what toxiproxy's clients ask, and takes note of the commands that each request becomes."""

    def __init__(self, *, beyond_loopback: bool = False, parity: bool = False) -> None:
        self.relay = Noting()
        self.proxies = Proxies(cast("Started", self.relay), beyond_loopback=beyond_loopback)
        self._routes = ToxiproxyRoutes(self.proxies, parity=parity)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer: its status where it has no body."""
        self.relay.done.clear()
        answer = await self._routes.answer(Request(method, path, {}, json.dumps(body).encode() if body else b""))
        assert answer is not None
        assert isinstance(answer.body, bytes)
        return json.loads(answer.body) if answer.body else answer.status

    async def status(self, method: str, path: str, body: Any = None) -> int:
        answer = await self._routes.answer(Request(method, path, {}, json.dumps(body).encode() if body else b""))
        assert answer is not None
        return answer.status

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        with pytest.raises(Refused) as raised:
            await self.ask(method, path, body)
        return raised.value.status, str(raised.value), raised.value.hint

    def done(self) -> list[Command[Any]]:
        return self.relay.done
