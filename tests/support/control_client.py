"""A client of a relay's control that sends exactly what a test says."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answered:
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends requests to one control, each on a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.address = (str(urlsplit(url).hostname), int(urlsplit(url).port or 0))

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answered:
        """Send a request; a body that is no bytes goes as JSON. `user_agent="x"` is the header User-Agent."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            told = {"Content-Type": "application/json"} | told
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(method, path, body, told)
            response = connection.getresponse()
            return Answered(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, 60)
