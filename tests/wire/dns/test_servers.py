"""Which name servers are asked."""

from __future__ import annotations

import pytest

from relay.address import Endpoint
from relay.errors import ConfigError
from relay.wire.dns.servers import parse_server, servers_in

RESOLV_CONF = """\
# made by hand
search example.org
nameserver 192.0.2.53
nameserver\t2001:db8::53
;nameserver 192.0.2.99
nameserver fe80::1%eth0 # the router
nameserver 192.0.2.54
options timeout:1 rotate
"""


def test_the_first_three_of_resolv_conf_are_asked() -> None:
    assert servers_in(RESOLV_CONF) == [Endpoint(host, 53) for host in ("192.0.2.53", "2001:db8::53", "fe80::1%eth0")]


@pytest.mark.parametrize("text", ["", "nameserver", "nameserver ns.example.org", "nameserver 192.0.2.256", "\0\xff"])
def test_what_is_no_server_there_is_left_out(text: str) -> None:
    assert servers_in(text) == []


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.53", Endpoint("192.0.2.53", 53)),
        ("192.0.2.53:5353", Endpoint("192.0.2.53", 5353)),
        ("2001:db8::53", Endpoint("2001:db8::53", 53)),
        ("[2001:db8::53]", Endpoint("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", Endpoint("2001:db8::53", 5353)),
    ],
)
def test_a_server_is_an_address_with_or_without_a_port(text: str, server: Endpoint) -> None:
    assert parse_server(text, where="--dns") == server


@pytest.mark.parametrize(
    "text", ["", "ns.example.org", "ns.example.org:53", "192.0.2.53:0", "192.0.2.53:x", "192.0.2.53:70000"]
)
def test_what_is_none_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ConfigError, match="--dns") as caught:
        parse_server(text, where="--dns")
    assert caught.value.hint
