"""Mistakes that a newcomer makes: each is reported in one line, and the hint says what was probably meant."""

from __future__ import annotations

import sys

import pytest

from cli.test_settings import check, complaint
from relay.cli.banner import _settings_of_shells

# A command line, what its line says in full, and how its hint begins.
MISTAKES = {
    "server": ("unknown command 'server'", "did you mean serve? see `relay --help`"),
    "--verison": ("unknown option --verison", "did you mean --version? see `relay --help`"),
    "-v": ("unknown option -v", "see `relay --help`"),
    "serve vmware-fusion": ("unexpected argument 'vmware-fusion'", "did you mean --profile vmware-fusion? see `relay"),
    "serve nonsense": ("unexpected argument 'nonsense'", "see `relay serve --help`"),
    "serve --profile": ("--profile needs a value", "see `relay serve --help`"),
    "serve --profle x": ("unknown option --profle", "did you mean --p"),
    "serve --quiet=1": ("--quiet takes no value", "see `relay serve --help`"),
    "serve --profile vmware": ("--profile: unknown profile 'vmware'", "did you mean vmware-fusion? `relay profiles` "),
    "serve --forward 8022:22": ("--forward: cannot read '8022:22'", "did you mean 8022:127.0.0.1:22? the form is "),
    "serve --forward ::1:22:127.0.0.1:22": (
        "--forward: cannot read '::1:22:127.0.0.1:22'",
        "an IPv6 address stands in brackets; the form is [BIND:]PORT:HOST:PORT",
    ),
    "serve --forward 8022:localhost:ssh": ("--forward: 'ssh' is not a port", "a port is a number from 0 to 65535"),
    "serve --listen 1080": ("--listen: cannot read '1080'", "did you mean 127.0.0.1:1080? the form is HOST:PORT"),
    "serve --listen http://127.0.0.1:1080/": (
        "--listen: cannot read 'http://127.0.0.1:1080/'",
        "did you mean 127.0.0.1:1080? the form is HOST:PORT",
    ),
    "serve --listen 0.0.0.0:0": ("--listen: listening on 0.0.0.0:0 without authentication", "add --auth USER:PASS"),
    "serve --auth me": ("--auth: not of the form USER:PASS", "give both, as in alice:pass-phrase"),
    "serve --set tos-reset.mask": ("--set tos-reset.mask: no value", "the form is BEHAVIOUR.SETTING=VALUE"),
    "serve --set idle-timeout=30": (
        "--set idle-timeout=30: no setting",
        "the form is BEHAVIOUR.SETTING=VALUE, e.g. tos-reset.mask=0xfc, or tos-reset.enabled=false; its settings: a",
    ),
    "serve --set mask=1": ("--set mask=1: no behaviour", "did you mean tos-reset.mask=1? the form is BEHAVIOUR"),
    "serve --set tosreset.mask=1": (
        "--set tosreset.mask=1: unknown behaviour 'tosreset'",
        "did you mean tos-reset? there are: ",
    ),
    "serve --set precomplete-handshake.failed=fin": (
        "vmware-fusion-11: precomplete-handshake: failed of fin does not go with the order external-first: "
        "a connection that was not granted has no FIN",
        "set order to internal-first, or failed to rst",
    ),
    "explain haproxy --set precomplete-handshake.order=lockstep": (
        "haproxy.toml: precomplete-handshake: failed of fin does not go with the order lockstep: "
        "a connection that was not granted has no FIN",
        "set order to internal-first, or failed to rst",
    ),
    "run --set idle-timeout.internal=timeout true": (
        "--set idle-timeout.internal=timeout: 'timeout' is not 'silence' or 'rst-on-next' or 'rst' or 'fin'",
        "internal: what the app gets: nothing, RST on its next segment, RST, FIN",
    ),
    "serve --set idle-timeout.after_s=1e9": (
        "--set idle-timeout.after_s=1e9: 1000000000.0 is not a number from 0.001 to 31536000",
        "after_s: how long without traffic, in s",
    ),
    "serve --idle-timeout 5m": ("--idle-timeout: '5m' is not a number", "give seconds without a unit, e.g. "),
    "serve --max-flows 1.5": ("--max-flows: '1.5' is not a whole number", "e.g. --max-flows 1000; see `relay serve"),
    "serve --backend uvlop": ("--backend: unknown backend 'uvlop'", "did you mean uvloop? choose one of asyncio, "),
    "serve --observer pcap": ("--observer: there is no observer 'pcap'", "did you mean 'socket-filter'? there are: "),
    "serve --config none.toml": ("--config: cannot read none.toml: No such file or directory", "name a TOML file"),
    "serve --source eth0": ("--source: 'eth0' is not an IP address", "give one of this host's addresses"),
    "explain nosuch": ("unknown profile 'nosuch'", "`relay profiles` lists all profiles; or give the path"),
    "explain vmware-fusion transparent": ("unexpected argument 'transparent'", "see `relay explain --help`"),
    "profiles aws": ("unexpected argument 'aws'", "did you mean relay explain aws? see `relay profiles --help`"),
    "--json doctor": ("unknown option --json", "it stands behind its command, as in relay profiles --json; see `relay"),
    "--profile aws serve": ("unknown option --profile", "it stands behind its command, as in relay serve --profile; "),
    "serve --dns x --wire tun:x": ("--dns: cannot read 'x'", "the form is ADDRESS or ADDRESS:PORT, e.g. 192.0.2.53"),
    "doctor --jsn": ("unknown option --jsn", "did you mean --json? see `relay doctor --help`"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_reported_with_what_was_meant(case: str) -> None:
    done = complaint(*case.split())
    says, hint = MISTAKES[case]
    check(done, says, hint)
    first, second = done.stderr.splitlines()
    assert first == f"relay: {says}"
    assert second.startswith(f"hint: {hint}")


@pytest.mark.parametrize(
    ("platform", "lines"),
    [
        ("linux", ["export ALL_PROXY=socks5h://127.0.0.1:1080"]),
        ("darwin", ["export ALL_PROXY=socks5h://127.0.0.1:1080"]),
        (
            "win32",
            [
                '$env:ALL_PROXY = "socks5h://127.0.0.1:1080"',
                "set ALL_PROXY=socks5h://127.0.0.1:1080    (cmd.exe)",
            ],
        ),
    ],
)
def test_the_banner_has_the_commands_of_the_shells_of_the_system(
    platform: str, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert _settings_of_shells("socks5h://127.0.0.1:1080") == lines
