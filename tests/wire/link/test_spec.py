"""How people write where a guest is attached, and the error when they write it wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.address import Endpoint
from relay.errors import ConfigError
from relay.wire.link.spec import DatagramSpec, DeviceSpec, StreamSpec, WireSpec, parse_wire

LOOPBACK = Endpoint("127.0.0.1", 1234)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("tun:tun0", DeviceSpec("tun", "tun0")),
        ("interface:veth12ab", DeviceSpec("interface", "veth12ab")),
        ("qemu:unix:/run/guest", StreamSpec("/run/guest")),
        ("qemu:unix:a path:with colons", StreamSpec("a path:with colons")),
        ("qemu:127.0.0.1:1234", StreamSpec(LOOPBACK)),
        ("qemu:[::1]:1234", StreamSpec(Endpoint("::1", 1234))),
        ("qemu:dial:unix:/run/guest", StreamSpec("/run/guest", dials=True)),
        ("qemu:dial:127.0.0.1:1234", StreamSpec(LOOPBACK, dials=True)),
        ("unixgram:/run/guest", DatagramSpec("/run/guest")),
        ("udp:127.0.0.1:1234", DatagramSpec(LOOPBACK)),
        ("udp:[::1]:1234", DatagramSpec(Endpoint("::1", 1234))),
        ("udp:1234:127.0.0.1:4321", DatagramSpec(LOOPBACK, Endpoint("127.0.0.1", 4321))),
        ("udp:0.0.0.0:1234:192.0.2.1:4321", DatagramSpec(Endpoint("0.0.0.0", 1234), Endpoint("192.0.2.1", 4321))),
    ],
)
def test_each_form_is_read(text: str, spec: WireSpec) -> None:
    assert parse_wire(text) == spec


@pytest.mark.parametrize(
    "spec",
    [
        DeviceSpec("tun", "tun0"),
        StreamSpec("/run/guest"),
        StreamSpec(LOOPBACK, dials=True),
        DatagramSpec("/run/guest"),
        DatagramSpec(LOOPBACK),
        DatagramSpec(LOOPBACK, Endpoint("::1", 4321)),
    ],
)
def test_each_is_written_as_it_is_read(spec: WireSpec) -> None:
    assert parse_wire(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "--wire: cannot read ''", "the forms are tun:NAME, "),
        ("tun0", "--wire: cannot read 'tun0'", "did you mean tun:? the forms are "),
        ("quemu:unix:/run/guest", "--wire: cannot read 'quemu:unix:/run/guest'", "did you mean qemu:? "),
        ("tun:", "--wire: '' cannot be a device's name", "see `ip link`"),
        ("tun:../tun0", "--wire: '../tun0' cannot be a device's name", ""),
        ("tun:.", "--wire: '.' cannot be a device's name", ""),
        ("interface:a-name-of-16-chr", "--wire: 'a-name-of-16-chr' cannot be a device's name", ""),
        ("interface:eth 0", "--wire: 'eth 0' cannot be a device's name", ""),
        ("qemu:unix:", "--wire: '' cannot be a socket's path", "give 1 to 103 bytes"),
        ("qemu:/run/guest", "--wire: cannot read '/run/guest'", "the form is HOST:PORT"),
        ("unixgram:" + "p" * 104, "--wire: 'pppp", "give 1 to 103 bytes"),
        ("qemu:dial:1234", "--wire: cannot read '1234'", "the form is HOST:PORT"),
        ("qemu:127.0.0.1:99999", "--wire: '99999' is not a port", ""),
        ("udp:127.0.0.1", "--wire: cannot read '127.0.0.1'", "the form is HOST:PORT"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_wire(text)
    assert str(raised.value).startswith(message)
    assert hint in raised.value.hint
    assert raised.value.hint


@given(st.one_of(st.text(max_size=40), st.from_regex(r"(tun|interface|qemu|unixgram|udp):(dial:|unix:)?.{0,30}")))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        spec = parse_wire(text)
    except ConfigError:
        return
    assert parse_wire(str(spec)) == spec
