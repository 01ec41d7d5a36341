"""What holds for all workers of a relay: the addresses they share, and what commands have changed.

The parent checks a command here before a worker gets it, and records it in the event log once. A worker that starts
later begins with `config`, which has all that a configuration can say, with the log's clock, and carries out
`replayed`, which has the rest.
`LinkDown` is not replayed: it is about the flows of its moment.
"""

from __future__ import annotations

import socket
from dataclasses import replace

from relay.address import Endpoint, ForwardSpec
from relay.config import RelayConfig, check_advance, check_time_scale
from relay.control import (
    Adjust,
    AdjustForward,
    Advance,
    CloseForward,
    Command,
    CountUp,
    Drain,
    Freeze,
    LiftFault,
    LinkDown,
    ListFaults,
    ListFlows,
    OpenForward,
    ResolveAs,
    SetFault,
    SetSeed,
    SetTimeScale,
    Thaw,
    no_such_forward,
)
from relay.driver.faults import record_fault_lifted, record_fault_set
from relay.errors import RelayBug
from relay.events import Side
from relay.net.listen import reserve_address
from relay.profiles import Source, adjust_profile, forward_profile
from relay.workers.merging import MergedLog


class Standing:
    """What workers have in common; `close` releases the addresses.

    Raises:
        ConfigError: an address cannot be listened on.
    """

    def __init__(self, config: RelayConfig, log: MergedLog) -> None:
        self._log = log
        log.clock.scale = config.time_scale
        if config.clock == "manual":
            log.clock.stop()
        self._holders: dict[Endpoint, socket.socket] = {}
        self._frozen: set[Side] = set()
        self._faults: dict[tuple[Endpoint | None, str], Command[object]] = {}
        try:
            self.config = replace(
                config,
                listen=self._reserve(config.listen, "--listen") if config.listen is not None else None,
                forwards=tuple(self._reserve_forward(spec, "--forward") for spec in config.forwards),
                inbound=tuple(self._reserve_forward(spec, "--inbound") for spec in config.inbound),
            )
            """The configuration of a worker that starts now; its ports are those that were picked."""
        except BaseException:
            self.close()
            raise

    @property
    def replayed(self) -> tuple[Command[object], ...]:
        """The commands that a worker carries out as it starts."""
        return (*(Freeze(side) for side in Side if side in self._frozen), *self._faults.values())

    def take(self, command: Command[object]) -> Command[object]:
        """Take in a command; returns it as the workers are to have it.

        Raises:
            ConfigError: it cannot be carried out as it is, and nothing was changed.
        """
        match command:
            case Freeze(side):
                if side not in self._frozen:
                    self._frozen.add(side)
                    self._log.emit("frozen", side=side.value)
            case Thaw(side):
                if side in self._frozen:
                    self._frozen.discard(side)
                    self._log.emit("thawed", side=side.value)
            case LinkDown():
                self._log.emit("link-down")
            case Adjust(settings):
                adjusted = adjust_profile(self.config.profile, settings, source=Source.COMMAND)
                for spec in (*self.config.forwards, *self.config.inbound):
                    forward_profile(adjusted, spec.settings, source=Source.COMMAND)
                self.config = replace(self.config, profile=adjusted)
                self._log.emit("settings-changed", settings=list(settings))
            case AdjustForward(address, settings):
                self._adjust_forward(address, settings)
            case OpenForward(spec, initiator):
                return self._add_forward(spec, initiator)
            case ResolveAs(override):
                self.config = replace(self.config, resolve=(*self.config.resolve, override))
            case SetTimeScale(scale):
                check_time_scale(scale, where="scale")
                self.config = replace(self.config, time_scale=scale)
                self._log.clock.scale = scale
            case Advance(seconds, keepalive):
                check_advance(seconds, keepalive)
            case SetSeed(seed):
                self.config = replace(self.config, seed=seed)
            case SetFault(name, fault, forward):
                if forward is not None and forward not in self._forwards:
                    raise no_such_forward(forward, self._forwards, where="forward")
                self._faults[forward, name] = command
                record_fault_set(self._log, name, fault, forward)
            case LiftFault(name, forward):
                if self._faults.pop((forward, name), None) is not None:
                    record_fault_lifted(self._log, name, forward)
            case CloseForward(address):
                self._drop_forward(address)
            case CountUp() | ListFlows() | ListFaults():
                pass
            case Drain():
                pass  # no worker starts after it
            case _:
                raise RelayBug(f"no worker carries out {command!r}")
        return command

    def move_clock(self, seconds: float) -> None:
        """Move the log's clock on, as the workers move theirs."""
        self._log.clock.move_to(self._log.clock.now_s() + seconds)

    def close(self) -> None:
        """Release the addresses."""
        while self._holders:
            self._holders.popitem()[1].close()

    def _add_forward(self, spec: ForwardSpec, initiator: Side) -> OpenForward:
        spec = self._reserve_forward(spec, "bind")
        if initiator is Side.EXTERNAL:
            self.config = replace(self.config, inbound=(*self.config.inbound, spec))
        else:
            self.config = replace(self.config, forwards=(*self.config.forwards, spec))
        return OpenForward(spec, initiator)

    def _adjust_forward(self, address: Endpoint, settings: tuple[str, ...]) -> None:
        config = self.config
        if address not in self._forwards:
            raise no_such_forward(address, self._forwards)
        forward_profile(config.profile, settings, source=Source.COMMAND)
        forwards, inbound = (
            tuple(replace(spec, settings=settings) if spec.bind == address else spec for spec in specs)
            for specs in (config.forwards, config.inbound)
        )
        self.config = replace(config, forwards=forwards, inbound=inbound)
        self._log.emit("forward-changed", forward=str(address), settings=list(settings))

    def _reserve_forward(self, spec: ForwardSpec, where: str) -> ForwardSpec:
        if spec.settings:
            forward_profile(self.config.profile, spec.settings, source=Source.COMMAND)
        return replace(spec, bind=self._reserve(spec.bind, where))

    def _reserve(self, bind: Endpoint, where: str) -> Endpoint:
        holder = reserve_address(bind, where=where)
        address = Endpoint(*holder.getsockname()[:2])
        self._holders[address] = holder
        return address

    def _drop_forward(self, address: Endpoint) -> None:
        config = self.config
        inbound = tuple(spec for spec in config.inbound if spec.bind != address)
        forwards = tuple(spec for spec in config.forwards if spec.bind != address)
        if (inbound, forwards) == (config.inbound, config.forwards):
            raise no_such_forward(address, self._forwards)
        self.config = replace(config, forwards=forwards, inbound=inbound)
        self._holders.pop(address).close()
        self._faults = {key: command for key, command in self._faults.items() if key[0] != address}

    @property
    def forward_settings(self) -> dict[Endpoint, tuple[str, ...]]:
        """The settings of their own that forwards have, by where they listen."""
        return {spec.bind: spec.settings for spec in (*self.config.forwards, *self.config.inbound) if spec.settings}

    @property
    def _forwards(self) -> list[Endpoint]:
        """Where forwards listen, inbound ones too."""
        return [spec.bind for spec in (*self.config.forwards, *self.config.inbound)]
