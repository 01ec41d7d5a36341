"""Front ends that listen on an address of this host: the proxy port, and port forwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.address import Endpoint, ForwardSpec
from relay.events import Side
from relay.frontends._api import Conversation, Host
from relay.frontends.forward import ForwardConversation
from relay.frontends.proxy import ProxyConversation
from relay.loop.engine import Engine
from relay.net.kernel_leg import KernelLeg
from relay.net.listen import Listener, open_listener
from relay.observe import Fidelity, Observers, Support, save_syn
from relay.protocols import Credentials

_FORWARDED = {
    Want(Ability.HANDSHAKE): Support(
        Fidelity.APPROXIMATE,
        "kernel sockets",
        "a port forward's client is accepted by the kernel before any behaviour is asked; a refusal is a reset",
        remedy="connect through SOCKS or HTTP CONNECT",
    )
}


@dataclass(frozen=True, slots=True)
class ListeningContext:
    """What the listening front ends of one relay share."""

    engine: Engine
    observers: Observers
    shared: bool
    """Whether other processes listen on the same addresses, which were reserved for all of them."""
    resting: Callable[[str], None]
    """Called with the reason when nothing can be accepted for a while."""
    resumed: Callable[[], None]


class ListeningFrontEnd(ABC):
    """Hands over what is accepted on one address; see `FrontEnd`."""

    initiator = Side.INTERNAL

    def __init__(self, context: ListeningContext, bind: Endpoint, *, where: str) -> None:
        """`where` is what the address was given by, for errors: an option, or a command's field."""
        self._context = context
        self._bind = bind
        self._where = where
        self._listener: Listener | None = None
        self._address: Endpoint | None = None

    def open(self, host: Host) -> None:
        context = self._context
        sock = open_listener(self._bind, where=self._where, shared=context.shared)
        save_syn(sock)
        self._listener = Listener(
            context.engine,
            sock,
            accepted=lambda connection: host.accept(
                KernelLeg(context.engine, connection, self.initiator, abilities=context.observers, accepted=True),
                self._converse(),
            ),
            resting=context.resting,
            resumed=context.resumed,
        )
        self._address = self._listener.address

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()

    @property
    def address(self) -> Endpoint:
        """Where it listens, with the port that was picked if 0 was asked for."""
        assert self._address is not None, "not open"  # noqa: S101
        return self._address

    def cover(self, mask: int) -> None:
        """See a change in these bits of the TOS byte from the first segment of each connection on."""
        if self._listener is not None and self.initiator is Side.INTERNAL:
            self._context.observers.cover(self._listener.sock, mask)

    def describe(self) -> str:
        return str(self.address)

    @classmethod
    def support(cls, want: Want) -> Support | None:
        return None

    @abstractmethod
    def _converse(self) -> Conversation: ...


class ProxyFrontEnd(ListeningFrontEnd):
    """The proxy port: SOCKS4, SOCKS4a, SOCKS5 and HTTP."""

    def __init__(
        self,
        context: ListeningContext,
        bind: Endpoint,
        credentials: Credentials | None,
        *,
        where: str,
        is_forward: bool = False,
    ) -> None:
        """With `is_forward` it is one of the relay's forwards, which leads wherever its clients ask for."""
        super().__init__(context, bind, where=where)
        self._credentials = credentials
        self._is_forward = is_forward

    def _converse(self) -> Conversation:
        return ProxyConversation(self._credentials, self.address if self._is_forward else None)


class ForwardFrontEnd(ListeningFrontEnd):
    """A port forward; with an external initiator an inbound one."""

    def __init__(self, context: ListeningContext, spec: ForwardSpec, initiator: Side, *, where: str) -> None:
        super().__init__(context, spec.bind, where=where)
        self._target = spec.target
        self.initiator = initiator
        self._conversation: ForwardConversation | None = None

    def open(self, host: Host) -> None:
        super().open(host)
        self._conversation = ForwardConversation(self._target, self.initiator, self.address)

    def describe(self) -> str:
        return f"{self.address} -> {self._target}"

    @classmethod
    def support(cls, want: Want) -> Support | None:
        return _FORWARDED.get(want.kind)

    def _converse(self) -> Conversation:
        assert self._conversation is not None, "not open"  # noqa: S101
        return self._conversation  # it has nothing to remember of a connection: one serves all
