"""Endpoints as people write them, and what is said when they write them wrong."""

from __future__ import annotations

import ipaddress
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.address import (
    ANYWHERE,
    Endpoint,
    ForwardSpec,
    ResolveOverride,
    parse_endpoint,
    parse_forward,
    parse_resolve,
)
from relay.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:1080", Endpoint("127.0.0.1", 1080)),
        ("[::1]:1080", Endpoint("::1", 1080)),
        ("[fe80::1%eth0]:22", Endpoint("fe80::1%eth0", 22)),
        ("example.org:443", Endpoint("example.org", 443)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("localhost:65535", Endpoint("localhost", 65535)),
    ],
)
def test_an_endpoint_reads_and_writes_the_same(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text, where="--listen") == endpoint
    assert str(endpoint) == text


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 65535))
def test_every_address_and_port_survive_being_written_and_read(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    endpoint = parse_endpoint(str(Endpoint(str(address), port)), where="--listen")
    assert endpoint == Endpoint(str(address), port)
    assert endpoint.ip == address


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("8022:127.0.0.1:22", ForwardSpec(Endpoint("127.0.0.1", 8022), Endpoint("127.0.0.1", 22))),
        ("0:db.test:5432", ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("db.test", 5432))),
        ("0.0.0.0:80:[::1]:8080", ForwardSpec(Endpoint("0.0.0.0", 80), Endpoint("::1", 8080))),
        ("[::1]:8022:[::1]:22", ForwardSpec(Endpoint("::1", 8022), Endpoint("::1", 22))),
        ("1081:any://", ForwardSpec(Endpoint("127.0.0.1", 1081), ANYWHERE)),
        ("[::1]:1081:any:// cut.at_request=2", ForwardSpec(Endpoint("::1", 1081), ANYWHERE, ("cut.at_request=2",))),
    ],
)
def test_a_forward_is_written_as_for_ssh(text: str, spec: ForwardSpec) -> None:
    assert parse_forward(text, where="--forward") == spec


def test_a_forward_shows_both_ends() -> None:
    assert str(parse_forward("8022:[::1]:22", where="--forward")) == "127.0.0.1:8022 -> [::1]:22"
    anywhere = parse_forward("1081:any://", where="--forward")
    for spec in (anywhere, pickle.loads(pickle.dumps(anywhere))):  # noqa: S301 - as workers get it
        assert str(spec) == "127.0.0.1:1081 -> any://"


@pytest.mark.parametrize(
    ("text", "override"),
    [
        ("api.test:443:127.0.0.1", ResolveOverride("api.test", 443, "127.0.0.1")),
        ("API.Test:443:[::1]", ResolveOverride("api.test", 443, "::1")),
    ],
)
def test_a_name_is_overridden_as_for_curl(text: str, override: ResolveOverride) -> None:
    assert parse_resolve(text, where="--resolve") == override


LONGEST = "a" * 255


@pytest.mark.parametrize(
    ("parse", "text", "message", "hint"),
    [
        (parse_endpoint, "localhost", "--x: cannot read 'localhost'", "the form is HOST:PORT"),
        (parse_endpoint, "", "--x: cannot read ''", "the form is HOST:PORT"),
        (parse_endpoint, "::1:1080", "--x: cannot read '::1:1080'", "the form is HOST:PORT"),
        (parse_endpoint, "[::1:1080", "--x: cannot read '[::1:1080'", "the form is HOST:PORT"),
        (parse_endpoint, "[::1]1080", "--x: cannot read '[::1]1080'", "the form is HOST:PORT"),
        (parse_endpoint, "[1[.]:1", "--x: cannot read '[1[.]:1'", "the form is HOST:PORT"),
        (parse_endpoint, "a:1:b", "--x: cannot read 'a:1:b'", "the form is HOST:PORT"),
        (parse_endpoint, ":80", "--x: '' is not a host", "give a name or an address"),
        (parse_endpoint, "[]:80", "--x: '[]' is not a host", "give a name or an address"),
        (parse_endpoint, "a b:80", "--x: 'a b' is not a host", "give a name or an address"),
        (parse_endpoint, f"{LONGEST}a:80", f"--x: '{LONGEST}a' is not a host", "give a name or an address"),
        (parse_endpoint, "host:", "--x: '' is not a port", "a port is a number from 0 to 65535"),
        (parse_endpoint, "host:http", "--x: 'http' is not a port", "a port is a number from 0 to 65535"),
        (parse_endpoint, "host:65536", "--x: '65536' is not a port", "a port is a number from 0 to 65535"),
        (parse_endpoint, "host:000080", "--x: '000080' is not a port", "a port is a number from 0 to 65535"),
        (parse_endpoint, "host:-1", "--x: '-1' is not a port", "a port is a number from 0 to 65535"),
        (parse_endpoint, "host:٣", "--x: '٣' is not a port", "a port is a number from 0 to 65535"),
        (parse_forward, "8022:22", "--x: cannot read '8022:22'", "the form is [BIND:]PORT:HOST:PORT"),
        (parse_forward, "a:b:c:d:e", "--x: cannot read 'a:b:c:d:e'", "the form is [BIND:]PORT:HOST:PORT"),
        (parse_forward, "8022:host:0", "--x: nothing can listen on port 0 of host", "the form is [BIND:]PORT"),
        (parse_forward, "8022:*:0", "--x: nothing can listen on port 0 of *", "the form is [BIND:]PORT"),
        (parse_forward, "any://", "--x: cannot read 'any://'", "the form is [BIND:]PORT"),
        (parse_forward, "1:http://a:1", "--x: cannot read '1:http://a:1'", "the form is [BIND:]PORT"),
        (parse_endpoint, "1:any://", "--x: cannot read '1:any://'", "the form is HOST:PORT"),
        (parse_forward, "x:host:22", "--x: 'x' is not a port", "a port is a number"),
        (parse_forward, ":1:host:22", "--x: '' is not a host", "give a name or an address"),
        (parse_resolve, "api.test:443", "--x: cannot read 'api.test:443'", "the form is NAME:PORT:ADDRESS"),
        (parse_resolve, "api.test:443:db.test", "--x: 'db.test' is not an IP address", "the form is NAME:PORT"),
        (parse_resolve, ":443:127.0.0.1", "--x: '' is not a host", "give a name or an address"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_form_it_should_have(
    parse: Callable[..., object], text: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, where="--x")
    assert str(caught.value) == message
    assert hint in caught.value.hint


def test_the_longest_name_that_socks_can_say_is_taken() -> None:
    assert parse_endpoint(f"{LONGEST}:80", where="--x").host == LONGEST


@pytest.mark.parametrize(
    ("host", "ip", "is_loopback"),
    [
        ("127.0.0.1", ipaddress.ip_address("127.0.0.1"), True),
        ("127.8.8.8", ipaddress.ip_address("127.8.8.8"), True),
        ("::1", ipaddress.ip_address("::1"), True),
        ("192.0.2.1", ipaddress.ip_address("192.0.2.1"), False),
        ("0.0.0.0", ipaddress.ip_address("0.0.0.0"), False),
        ("localhost", None, True),
        ("localhost.example", None, False),
    ],
)
def test_only_this_machine_reaches_loopback(
    host: str, ip: ipaddress.IPv4Address | ipaddress.IPv6Address | None, is_loopback: bool
) -> None:
    assert Endpoint(host, 1).ip == ip
    assert Endpoint(host, 1).is_loopback is is_loopback
