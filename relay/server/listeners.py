"""The ways into one relay: the listeners that it has open, and the front ends that it was given beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relay.address import ANYWHERE, Endpoint, ForwardSpec
from relay.config import RelayConfig
from relay.control import no_such_forward
from relay.driver import Driver
from relay.errors import ConfigError
from relay.events import Side
from relay.frontends import FrontEnd
from relay.frontends.listening import ForwardFrontEnd, ListeningContext, ListeningFrontEnd, ProxyFrontEnd
from relay.log import EventLog
from relay.observe import Observers
from relay.protocols import Credentials
from relay.server.adjusting import Adjusting


class Listeners:
    """Open from `open` until `close`; forwards may come and go meanwhile."""

    def __init__(
        self, driver: Driver, observers: Observers, log: EventLog, *, shared: bool, front_ends: Sequence[FrontEnd]
    ) -> None:
        """`shared`: other processes listen on the same addresses, which were reserved for all of them.

        `front_ends` are those that listen nowhere: a guest's link, for instance.
        """
        self._driver = driver
        self._context = ListeningContext(
            driver.engine,
            observers,
            shared=shared,
            resting=lambda reason: log.emit("accept-paused", reason=reason),
            resumed=lambda: log.emit("accept-resumed"),
        )
        self._adjusting = Adjusting(driver)
        self._listening: list[ListeningFrontEnd] = []
        self._others = list(front_ends)
        self._credentials: Credentials | None = None
        self.address: Endpoint | None = None
        """Where the proxy listens, if there is one."""
        self.forward_addresses: list[Endpoint] = []
        """Where each forward listens, in the order they were given."""
        self.inbound_addresses: list[Endpoint] = []
        """Likewise for inbound forwards."""
        self.targets: dict[Endpoint, Endpoint] = {}
        """Where each forward leads, inbound ones too, by where it listens."""

    @property
    def forward_settings(self) -> Mapping[Endpoint, tuple[str, ...]]:
        """The settings of their own that forwards have, by where they listen."""
        return self._adjusting.own

    def open(self, config: RelayConfig) -> None:
        """Open what a configuration asks for.

        Raises:
            ConfigError: an address cannot be listened on.
        """
        self._credentials = config.auth
        if config.listen is not None:
            self.address = self._open(ProxyFrontEnd(self._context, config.listen, config.auth, where="--listen"))
        for spec in config.forwards:
            self.open_forward(spec, Side.INTERNAL, where="--forward")
        for spec in config.inbound:
            self.open_forward(spec, Side.EXTERNAL, where="--inbound")
        for front_end in self._others:
            front_end.open(self._driver)

    def close(self) -> None:
        """Accept nothing more."""
        for front_end in (*self._listening, *self._others):
            front_end.close()
        self._listening.clear()
        self._others.clear()

    def open_forward(self, spec: ForwardSpec, initiator: Side, *, where: str = "bind") -> Endpoint:
        """Open one more forward, and return where it listens; `where` is what its address was given by.

        Raises:
            ConfigError: the address cannot be listened on, or a setting of its own is wrong.
        """
        if spec.settings:  # an error comes before anything is open
            self._adjusting.adjusted(self._driver.profile, spec.settings)
        front_end = self._front_end_of(spec, initiator, where)
        address = self._open(front_end)
        self._adjusting.keep(address, spec.settings)
        self._cover(front_end)
        self._addresses_of(initiator).append(address)
        self.targets[address] = spec.target
        return address

    def close_forward(self, address: Endpoint) -> None:
        """Close the forward that listens at this address; its flows go on.

        Raises:
            ConfigError: none does.
        """
        front_end = self._find_forward(address)
        front_end.close()
        self._listening.remove(front_end)
        self._driver.connector.own_addresses.discard(address)
        self._addresses_of(front_end.initiator).remove(address)
        del self.targets[address]
        self._adjusting.forget(address)

    def demand_forward(self, address: Endpoint | None) -> None:
        """Insist that a forward listens at this address, if it is one.

        Raises:
            ConfigError: none does.
        """
        if address is not None and address not in self.targets:
            raise no_such_forward(address, self.targets, where="forward")

    def adjust(self, settings: tuple[str, ...]) -> None:
        """Change settings of the flows to come.

        Raises:
            ConfigError: one is wrong; none was changed.
        """
        self._adjusting.adjust(settings)
        for front_end in self._listening:
            self._cover(front_end)

    def adjust_forward(self, address: Endpoint, settings: tuple[str, ...]) -> None:
        """Have a forward's flows to come made with settings of its own.

        Raises:
            ConfigError: there is no such forward, or one of them is wrong; none was changed.
        """
        front_end = self._find_forward(address)
        self._adjusting.keep(address, settings)
        self._cover(front_end)

    def _cover(self, front_end: ListeningFrontEnd) -> None:
        """See a change of the TOS byte that matters from the first segment of each connection on."""
        front_end.cover(self._adjusting.tos_mask_at(front_end.address))

    def _front_end_of(self, spec: ForwardSpec, initiator: Side, where: str) -> ListeningFrontEnd:
        if spec.target != ANYWHERE:
            return ForwardFrontEnd(self._context, spec, initiator, where=where)
        if initiator is Side.EXTERNAL:
            named = "target" if where == "bind" else where
            raise ConfigError(f"{named}: {spec.target} is no server of the guest's", hint="give its HOST:PORT")
        return ProxyFrontEnd(self._context, spec.bind, self._credentials, where=where, is_forward=True)

    def _find_forward(self, address: Endpoint) -> ListeningFrontEnd:
        if address in self.targets:
            for front_end in self._listening:
                if front_end.address == address:
                    return front_end
        raise no_such_forward(address, self.targets)

    def _addresses_of(self, initiator: Side) -> list[Endpoint]:
        return self.inbound_addresses if initiator is Side.EXTERNAL else self.forward_addresses

    def _open(self, front_end: ListeningFrontEnd) -> Endpoint:
        front_end.open(self._driver)
        self._listening.append(front_end)
        self._cover(front_end)
        self._driver.connector.own_addresses.add(front_end.address)
        return front_end.address
