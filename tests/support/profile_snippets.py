"""A test for each profile's page that shows, in milliseconds, what is peculiar to its NAT.

It is a limit on connections where the profile says so first of how it is reproduced. Otherwise it is chosen by what
`relay profiles` says of the NAT: what an idle connection is in for; else what a refused connect is; else a behaviour
that acts on an open connection; else what a reset becomes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from relay.profiles import Profile, columns_of

_HEAR_NOTHING = """
app.settimeout(0.3)
with pytest.raises(TimeoutError):  # one that waits hears nothing
    app.recv(1)
""".strip().splitlines()
_LOST = ["with pytest.raises(TimeoutError):  # what either sends is lost", "    app.recv(1)"]
_RESET = ["with pytest.raises(ConnectionResetError):", "    app.recv(1)"]
_ENDS: dict[str, Sequence[str]] = {
    "-": ['app.sendall(b"?")', 'server.sendall(b"!")', "app.settimeout(0.3)", *_LOST],
    "RST*": [*_HEAR_NOTHING, "app.settimeout(None)", 'app.sendall(b"?")', *_RESET],
    "RST": _RESET,
    "FIN": ['assert app.recv(1) == b""'],
}
_PORTS = """
with contextlib.ExitStack() as held:
    listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
    address = nat_relay.forward(*listener.getsockname())
    for _ in range(3):
        held.enter_context(socket.create_connection(address))
    for _ in range(2):
        held.enter_context(listener.accept()[0])
    listener.settimeout(0.3)
    with pytest.raises(TimeoutError):  # the third has no port
        held.enter_context(listener.accept()[0])
""".strip().splitlines()
_PENDING = """
with contextlib.ExitStack() as held:
    silent = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    held.enter_context(socket.create_connection(silent.getsockname()))  # its backlog is full: it answers no SYN
    held.enter_context(socket.create_connection(nat_relay.forward(*silent.getsockname())))
    nat_relay.wait_for("flow-opened")
    listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
    held.enter_context(socket.create_connection(nat_relay.forward(*listener.getsockname())))
    listener.settimeout(0.3)
    with pytest.raises(TimeoutError):  # it has to wait for the one that is not answered
        held.enter_context(listener.accept()[0])
""".strip().splitlines()


def snippet(profile: Profile) -> str:
    """A module with one test."""
    if found := re.match(r"With (flow_limit|pending_limit)=\{'(\w+)': (\d+)\}", profile.reproduce):
        behaviour, setting, value = found.groups()
        body = _PORTS if behaviour == "flow_limit" else _PENDING
        title = "one_connection_too_many" if behaviour == "flow_limit" else "a_server_beside_one_that_does_not_answer"
        return _module(profile, title, body, f', {behaviour}={{"{setting}": {value}}}')
    columns = columns_of(profile)
    names = {quirk.name for quirk in profile.quirks}
    if columns["idle"] != "-":
        seconds = float(re.findall(r"[\d.]+", columns["idle"])[-1]) + 1
        title = f"the_app_after_{columns['idle'].removesuffix(' s').replace('-', '_to_')}_s_without_traffic"
        steps = [f"nat_relay.advance({seconds:g})", *_ENDS[columns["hear"].partition("/")[0]]]
    elif columns["refused"] != "refused":
        return _refused(profile, columns["refused"])
    elif "tos-reset" in names:
        title = "a_client_that_marks_its_packets"
        steps = ["app.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)", 'app.sendall(b"?")', *_RESET]
    elif "link-down-reset" in names:
        title, steps = "the_link_goes_down", ["nat_relay.link_down()", *_RESET]
    else:
        title = "what_a_reset_becomes"
        reset = 'app.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))'
        became = {"FIN": ['assert server.recv(1) == b""'], "RST": [line.replace("app", "server") for line in _RESET]}
        steps = [reset, "app.close()", *became[columns["RST"].partition("/")[0]]]
    held = f"app, listener.accept()[0]{' as server' if any('server' in step for step in steps) else ''}"
    body = [
        'with socket.create_server(("127.0.0.1", 0)) as listener:',
        "    app = socket.create_connection(nat_relay.forward(*listener.getsockname()))",
        f"    with {held}:",
        '        nat_relay.wait_for("flow-connected")',
        *(f"        {step}" for step in steps),
    ]
    return _module(profile, title, body)


def _refused(profile: Profile, column: str) -> str:
    hears = _HEAR_NOTHING if column == "silence" else _ENDS[column.removeprefix("open, ")]
    body = [
        'with socket.create_server(("127.0.0.1", 0)) as listener:',
        "    nowhere = listener.getsockname()",
        "with socket.create_connection(nat_relay.forward(*nowhere)) as app:",
        *(f"    {line}" for line in hears),
    ]
    return _module(profile, "a_server_that_does_not_listen", body)


def _module(profile: Profile, title: str, body: Sequence[str], settings: str = "") -> str:
    used = [name for name in ("contextlib", "socket", "struct") if any(f"{name}." in line for line in body)]
    imports = [*(f"import {name}" for name in used), "", "import pytest", "", ""]
    marker = f'@pytest.mark.nat_relay("{profile.name}"{settings})'
    return "\n".join([*imports, marker, f"def test_{title}(nat_relay):", *(f"    {line}" for line in body)])
