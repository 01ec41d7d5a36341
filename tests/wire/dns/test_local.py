"""The names that the NAT answers itself."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.address import ResolveOverride
from relay.wire.dns.local import LocalNames, address_in, entries_in, entries_of
from relay.wire.dns.message import AAAA, PTR, A, Question, encode_name
from support.small_nat import ADDRESSES

HOSTS = """\
127.0.0.1   localhost
::1         localhost ip6-localhost
127.0.1.1   box.example.org box # our own name
192.0.2.7\tServer.Test server
192.0.2.8   server
2001:db8::7 server
not an address
fe80::1%lo  router
"""


def names(*overrides: str, hosts: str = HOSTS, host: bool = True) -> LocalNames:
    found = LocalNames(ADDRESSES.host if host else None)
    found.hosts = entries_in(hosts)
    split = [override.split("=") for override in overrides]
    found.overrides = entries_of(ResolveOverride(name, 443, address) for name, address in split)
    return found


def addresses(found: LocalNames, name: str, kind: int = A) -> list[str] | None:
    values = found.answer(Question(name, kind))
    return None if values is None else [str(ipaddress.ip_address(value)) for value in values]


def test_a_name_of_the_hosts_file_has_all_its_addresses_of_the_family() -> None:
    assert addresses(names(), "server") == ["192.0.2.7", "192.0.2.8"]
    assert addresses(names(), "server", AAAA) == ["2001:db8::7"]
    assert addresses(names(), "router", AAAA) == ["fe80::1"]


def test_of_the_other_family_it_has_none_and_no_server_is_asked() -> None:
    assert addresses(names(), "server.test", AAAA) == []


@pytest.mark.parametrize("kind", [A, AAAA, PTR, 16, 33])
def test_a_name_that_is_not_there_is_for_others(kind: int) -> None:
    assert names().answer(Question("www.test", kind)) is None


@pytest.mark.parametrize("kind", [15, 16, 33, 65])
def test_and_so_are_other_questions_about_one_that_is(kind: int) -> None:
    assert names().answer(Question("server", kind)) is None


def test_an_override_comes_first() -> None:
    assert addresses(names("server=192.0.2.99", "server=192.0.2.98"), "server") == ["192.0.2.99", "192.0.2.98"]
    assert addresses(names("server=192.0.2.99"), "server", AAAA) == []


def test_the_host_s_loopback_is_the_host_s_address_for_the_guest() -> None:
    assert addresses(names(), "box") == ["192.168.27.1"]
    assert addresses(names("api.test=127.0.0.1", "api.test=::1"), "api.test") == ["192.168.27.1"]
    assert addresses(names("api.test=::1"), "api.test", AAAA) == []


def test_where_the_host_is_turned_off_such_an_entry_does_not_count() -> None:
    assert addresses(names(host=False), "box") is None
    assert addresses(names("server=127.0.0.1", host=False), "server") == ["192.0.2.7", "192.0.2.8"]


@pytest.mark.parametrize("name", ["localhost", "app.localhost"])
@pytest.mark.parametrize("host", [True, False])
def test_localhost_is_the_guest_s_own(name: str, host: bool) -> None:
    assert addresses(names(host=host), name) == ["127.0.0.1"]
    assert addresses(names(host=host, hosts=""), name, AAAA) == ["::1"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("7.2.0.192.in-addr.arpa", "server.test"),
        ("8.2.0.192.in-addr.arpa", "server"),
        ("1.27.168.192.in-addr.arpa", "box.example.org"),
        (f"7{'.0' * 23}.8.b.d.0.1.0.0.2.ip6.arpa", "server"),
    ],
)
def test_an_address_has_the_first_name_that_is_not_localhost(asked: str, name: str) -> None:
    found = names(hosts=HOSTS.replace("localhost ip6-localhost", "localhost"))
    assert found.answer(Question(asked, PTR)) == [encode_name(name)]


def test_an_address_has_an_override_s_name_first_and_none_that_cannot_be_said() -> None:
    assert names("api.test=192.0.2.7").answer(Question("7.2.0.192.in-addr.arpa", PTR)) == [encode_name("api.test")]
    assert names(f"{'x' * 64}=192.0.2.9").answer(Question("9.2.0.192.in-addr.arpa", PTR)) is None


@pytest.mark.parametrize("address", ["192.0.2.7", "0.0.0.0", "2001:db8::7", "::"])
def test_an_address_s_own_name_is_read(address: str) -> None:
    ip = ipaddress.ip_address(address)
    assert address_in(ip.reverse_pointer) == ip


@pytest.mark.parametrize(
    "name",
    [
        "",
        "test",
        "in-addr.arpa",
        ".in-addr.arpa",
        "2.0.192.in-addr.arpa",
        "x.2.0.192.in-addr.arpa",
        "1.ip6.arpa",
        ".ip6.arpa",
    ],
)
def test_what_is_no_address_s_name_is_none(name: str) -> None:
    assert address_in(name) is None


@given(st.text(), st.text())
def test_any_text_is_read_without_an_error(hosts: str, name: str) -> None:
    found = names(hosts=hosts)
    for kind in (A, AAAA, PTR):
        found.answer(Question(name, kind))
    address_in(name + ".in-addr.arpa")
    address_in(".".join(name[:32]) + ".ip6.arpa")
