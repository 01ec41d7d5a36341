"""What toxiproxy's clients ask, by path and method, and what they are answered."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import anyio

from relay.control_api.exchange import Answer, Refused, Request, as_json
from relay.control_api.json_body import Fields, parse_fields, parse_json
from relay.control_api.toxiproxy.proxies import Proxies, Proxy
from relay.control_api.toxiproxy.toxics import AnyToxic, read_toxic

_CHANGES = ("POST", "PATCH")
ValueT = TypeVar("ValueT")


class ToxiproxyRoutes:
    """Answers for `/proxies`, `/populate` and `/reset`; what changes something, one request at a time."""

    def __init__(self, proxies: Proxies, *, parity: bool = False) -> None:
        """With `parity` fields and attributes that toxiproxy does not know are ignored, as it does."""
        self._proxies = proxies
        self._parity = parity
        self._turn = anyio.Lock(fast_acquire=True)  # an acquisition that need not wait takes no turn of the loop

    async def answer(self, request: Request) -> Answer | None:
        """The answer, or None where the path is none of these.

        Raises:
            Refused: it cannot be carried out.
        """
        proxies = self._proxies
        match request.parts, request.method:
            case ("proxies",), "GET":
                return as_json({name: proxy.as_data() for name, proxy in proxies.all().items()})
            case ("proxies",), "POST":
                proxy = await self._in_turn(self._create(self._fields(request, "proxy")))
                return as_json(proxy.as_data(), 201)
            case ("populate",), "POST":
                populated = await self.populate(request.body)
                return as_json({"proxies": [proxy.as_data() for proxy in populated]}, 201)
            case ("reset",), "POST":
                await self._in_turn(proxies.reset())
                return Answer(204)
            case ("proxies", name), "GET":
                return as_json(proxies.get(name).as_data())
            case ("proxies", name), method if method in _CHANGES:
                proxy = await self._in_turn(self._change(name, self._fields(request, "proxy")))
                return as_json(proxy.as_data())
            case ("proxies", name), "DELETE":
                await self._in_turn(proxies.delete(proxies.get(name)))
                return Answer(204)
            case ("proxies", name, "toxics"), "GET":
                return as_json(proxies.get(name).as_data()["toxics"])
            case ("proxies", name, "toxics"), "POST":
                return as_json(await self._in_turn(self._add(name, self._fields(request, "toxic"))))
            case ("proxies", name, "toxics", toxic), "GET":
                return as_json(_toxic(proxies.get(name), toxic).as_data())
            case ("proxies", name, "toxics", toxic), method if method in _CHANGES:
                fields = self._fields(request, "toxic")
                return as_json(await self._in_turn(self._change_toxic(name, toxic, fields)))
            case ("proxies", name, "toxics", toxic), "DELETE":
                await self._in_turn(self._lift(name, toxic))
                return Answer(204)
            case ("proxies" | "populate" | "reset", *_), method if len(request.parts) <= 4:
                raise Refused(405, f"{method} is not for this path")
        return None

    async def populate(self, body: bytes) -> list[Proxy]:
        """Make the proxies of a JSON array, or have those that are there be so.

        Raises:
            Refused: it is no such array, or a proxy cannot be made.
        """
        return await self._in_turn(self._populate(parse_json(body)))

    def _fields(self, request: Request, where: str) -> Fields:
        return parse_fields(request.body, where, lenient=self._parity)

    async def _in_turn(self, change: Awaitable[ValueT]) -> ValueT:
        async with self._turn:
            return await change

    async def _create(self, fields: Fields) -> Proxy:
        name, listen, upstream, enabled = _described(fields)
        return await self._proxies.create(name, listen, upstream, enabled=enabled)

    async def _populate(self, wanted: Any) -> list[Proxy]:
        if not isinstance(wanted, list):
            raise Refused(400, "populate: the body is no array of proxies")
        read = [_described(Fields.of(each, "proxy", lenient=self._parity)) for each in wanted]
        for _, listen, upstream, _ in read:
            self._proxies.read(listen, upstream)
        populated = []
        for name, listen, upstream, enabled in read:
            if (proxy := self._proxies.all().get(name)) is None:
                proxy = await self._proxies.create(name, listen, upstream, enabled=enabled)
            else:
                await self._proxies.change(proxy, listen or str(proxy.listen), upstream, enabled=enabled)
            populated.append(proxy)
        return populated

    async def _change(self, name: str, fields: Fields) -> Proxy:
        proxy = self._proxies.get(name)
        listen, upstream = fields.text("listen", str(proxy.listen)), fields.text("upstream", str(proxy.upstream))
        enabled = fields.truth("enabled", proxy.enabled)
        _ignore(fields, "name", "toxics")
        await self._proxies.change(proxy, listen, upstream, enabled=enabled)
        return proxy

    async def _add(self, name: str, fields: Fields) -> dict[str, Any]:
        proxy, toxic = self._proxies.get(name), read_toxic(fields)
        fields.done()
        if toxic.name in proxy.toxics:
            raise Refused(409, "toxic already exists")
        await self._proxies.set(proxy, toxic)
        return toxic.as_data()

    async def _change_toxic(self, name: str, toxic: str, fields: Fields) -> dict[str, Any]:
        proxy = self._proxies.get(name)
        changed = _toxic(proxy, toxic).changed(fields)
        _ignore(fields, "name", "type", "stream")
        await self._proxies.set(proxy, changed)
        return changed.as_data()

    async def _lift(self, name: str, toxic: str) -> None:
        proxy = self._proxies.get(name)
        await self._proxies.lift(proxy, _toxic(proxy, toxic))


def _described(fields: Fields) -> tuple[str, str, str, bool]:
    described = tuple(fields.text(name, "") for name in ("name", "listen", "upstream"))
    enabled = fields.truth("enabled", True)
    for name, value in zip(("name", "listen", "upstream"), described, strict=True):
        if not value and name != "listen":
            raise Refused(400, f"missing required field: {name}")
    _ignore(fields, "toxics")
    return (*described, enabled)  # type: ignore[return-value] # three texts


def _ignore(fields: Fields, *names: str) -> None:
    """Clients send these back as they were read."""
    for name in names:
        fields.skip(name)
    fields.done()


def _toxic(proxy: Proxy, name: str) -> AnyToxic:
    try:
        return proxy.toxics[name]
    except KeyError:
        raise Refused(404, "toxic not found") from None
