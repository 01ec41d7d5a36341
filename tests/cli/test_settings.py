"""What is said about a wrong setting: a line that names it, a hint at what is accepted, exit code 2, no traceback."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
import typer

from relay.cli.app import app
from support.forks import relay_in_fork
from support.programs import RELAY, relay, run, with_few_descriptors

Complaint = subprocess.CompletedProcess[str]

# `relay serve` with these arguments: what its line names, what its hint offers; several parts are joined by " & ".
WRONG_OPTIONS = {
    "--control 127.0.0.1:0 --port-file /nowhere/x": ("--port-file: cannot write /nowhere/x", "can be written"),
    "--profile vmware-fusoin": ("profile & 'vmware-fusoin'", "did you mean vmware-fusion, & .toml"),
    "--profile ./none.toml": ("none.toml & No such file", "a shipped profile's name"),
    "--profile /": ("/: & Is a directory", "the path of a file"),
    "--set tos-reset.mask": ("--set tos-reset.mask", "BEHAVIOUR.SETTING=VALUE"),
    "--set tos.mask=1": ("--set tos.mask=1 & 'tos'", "tos-reset"),
    "--set tos-reset.msk=1": ("--set tos-reset.msk=1 & 'msk'", "did you mean mask? & external_close_delay_ms"),
    "--set tos-reset.mask=all": ("--set tos-reset.mask=all & an integer from 1 to 255", "mask: bits of the TOS byte"),
    "--set tos-reset.mask=0": ("--set tos-reset.mask=0 & an integer from 1 to 255", "mask: bits of the TOS byte"),
    "--set close-mapping.half_close=hold": ("half_close=hold & 'pass' or 'close'", "half_close: "),
    "--listen 127.0.0.1": ("--listen & '127.0.0.1'", "HOST:PORT"),
    "--listen 127.0.0.1:65536": ("--listen & '65536'", "from 0 to 65535"),
    "--listen :1080": ("--listen & ''", "an address"),
    "--listen 192.0.2.1:1080 --allow-open": ("--listen & 192.0.2.1:1080", "an address of this host"),
    "--listen 0.0.0.0:0": ("--listen & 0.0.0.0:0 & without authentication", "--auth USER:PASS & --allow-open"),
    "--listen [::]:0": ("--listen & [::]:0 & without authentication", "--auth USER:PASS & --allow-open"),
    # A label may have 63 characters: this needs no look-up.
    f"--listen {'x' * 64}.test:0": ("--listen: cannot listen on & no such address", "an address of this host"),
    f"--forward {'x' * 64}.test:0:127.0.0.1:22": ("--forward: cannot & no such address", "an address of this host"),
    "--forward 8022:22": ("--forward & '8022:22'", "[BIND:]PORT:HOST:PORT"),
    "--forward 8022:127.0.0.1:0": ("--forward & port 0", "[BIND:]PORT:HOST:PORT"),
    "--forward 0.0.0.0:0:127.0.0.1:22": ("--forward & 0.0.0.0:0 & without authentication", "--allow-open"),
    "--forward 0.0.0.0:0:127.0.0.1:22 --auth me:secret": (
        "--forward & 0.0.0.0:0 & without authentication",
        "--allow-open",
    ),
    "--forward 8022:127.0.0.1:22 --forward 8022:127.0.0.1:23": (
        "--forward 8022:127.0.0.1:23 & --forward 8022:127.0.0.1:22 listens on port 8022 already",
        "a port of its own",
    ),
    "--listen 127.0.0.1:8022 --inbound 8022:127.0.0.1:23": (
        "--inbound 8022:127.0.0.1:23 & --listen 127.0.0.1:8022 listens on port 8022 already",
        "a port of its own",
    ),
    "--forward 0.0.0.0:8022:127.0.0.1:22 --allow-open --forward 8022:127.0.0.1:23": (
        "--forward 8022:127.0.0.1:23 & --forward 0.0.0.0:8022:127.0.0.1:22 listens on port 8022 already",
        "a port of its own",
    ),
    "--inbound 22": ("--inbound & '22'", "[BIND:]PORT:HOST:PORT"),
    "--inbound 0.0.0.0:0:127.0.0.1:22": ("--inbound & 0.0.0.0:0 & without authentication", "--allow-open"),
    "--resolve api.test:127.0.0.1": ("--resolve & 'api.test:127.0.0.1'", "NAME:PORT:ADDRESS"),
    "--resolve a.test:1:b.test": ("--resolve & 'b.test'", "NAME:PORT:ADDRESS"),
    "--auth me": ("--auth & USER:PASS", "neither part may be empty"),
    f"--auth me:{'x' * 256}": ("--auth & too long", "255 bytes"),
    "--auth-file ./none/auth": ("--auth-file & none/auth & No such file", "one line, USER:PASS"),
    "--auth-file /": ("--auth-file & / & Is a directory", "one line, USER:PASS"),
    "--auth-file ./none/auth --auth me:secret": ("--auth-file & --auth says already", "RELAY_AUTH and RELAY_AUTH_FILE"),
    "--source here": ("--source & 'here'", "one of this host's addresses"),
    "--source 192.0.2.1": ("--source & 192.0.2.1 & not this host's", "one of this host's addresses"),
    "--source 192.0.2.1 --workers 2": ("--source & 192.0.2.1 & not this host's", "one of this host's addresses"),
    "--backend curio": ("--backend & 'curio'", "asyncio, trio, uvloop"),
    "--workers 0": ("--workers & 0 is out of range", "1 to 64"),
    "--workers -1": ("--workers & -1 is out of range", "1 to 64"),
    "--workers 1000": ("--workers & 1000 is out of range", "1 to 64"),
    "--workers 3 --max-flows 2": ("--workers & 3 of them cannot share --max-flows 2", "--max-flows"),
    "--workers x": ("relay: --workers: 'x' is not a whole number", "--workers 4 & relay serve --help"),
    "--observer sock-dig": ("--observer & 'sock-dig'", "did you mean 'sock-diag'? & none"),
    "--handshake-timeout soon": ("relay: --handshake-timeout: 'soon' is not a number", "2.5 & relay serve --help"),
    "--connect-timeout 1s": ("relay: --connect-timeout: '1s' is not a number", "2.5 & relay serve --help"),
    "--idle-timeout never": ("relay: --idle-timeout: 'never' is not a number", "300 & relay serve --help"),
    "--drain-timeout 1,5": ("relay: --drain-timeout: '1,5' is not a number", "0.5 & relay serve --help"),
    "--time-scale fast": ("relay: --time-scale: 'fast' is not a number", "10 & relay serve --help"),
    "--seed 1.5": ("relay: --seed: '1.5' is not a whole number", "7 & relay serve --help"),
    "--handshake-timeout 0": ("--handshake-timeout & 0", "more than 0 and up to 86400"),
    "--connect-timeout -1": ("--connect-timeout & -1", "more than 0 and up to 86400"),
    "--idle-timeout 0": ("--idle-timeout & 0", "more than 0 and up to 86400"),
    "--max-flows 0": ("--max-flows & 0", "1 or more & no limit"),
    "--max-flows few": ("relay: --max-flows: 'few' is not a whole number", "--max-flows 1000 & relay serve --help"),
    "--drain-timeout nan": ("--drain-timeout & nan", "more than 0 and up to 86400"),
    "--network 10.0.0.0/24": ("relay: --network: there is no guest without --wire", "add --wire SPEC & relay run"),
    "--no-host": ("relay: --no-host: there is no guest without --wire", "add --wire SPEC & relay run"),
    "--dns 192.0.2.53": ("relay: --dns: there is no guest without --wire", "add --wire SPEC & relay run"),
    "--offload off": ("relay: --offload: there is no guest without --wire", "add --wire SPEC & relay run"),
    "--set stack.mss=1400": ("relay: --set stack.mss=1400: the stack is for guests & none", "--wire SPEC & relay run"),
    "--events ./none/events": ("--events & none/events & No such file", "- for stdout"),
    "--lisen 127.0.0.1:0": ("--lisen", "relay serve --help"),
    "127.0.0.1:0": ("127.0.0.1:0", "relay serve --help"),
    "--listen": ("--listen & needs a value", "relay serve --help"),
    "--quiet=yes": ("--quiet & takes no value", "relay serve --help"),
}

# The same for `relay serve --profile mine.toml` with this text in that file.
WRONG_PROFILES = {
    "title =": ("mine.toml & not TOML", "toml.io"),
    "era = 'now'": ("mine.toml & no title", "title = "),
    "title = 'Mine'\n[tos-rest]": ("mine.toml & 'tos-rest'", "did you mean tos-reset?"),
    "title = 'Mine'\n[tos-reset]\nmsk = 1": ("mine.toml & tos-reset.msk & 'msk'", "did you mean mask?"),
    "title = 'Mine'\n[tos-reset]\nmask = 'all'": (
        "mine.toml & tos-reset.mask & an integer from 1 to 255",
        "mask: bits",
    ),
    "title = 'Mine'\n[tos-reset]\nmask = 256": ("mine.toml & tos-reset.mask & 256 & from 1 to 255", "mask: bits"),
    "title = 'Mine'\nextends = './mine.toml'": ("mine.toml & extends itself", "leave out"),
    "title = 'Mine'\nextends = 'vmware'": ("mine.toml & extends & 'vmware'", "relay profiles"),
}

# The same for other commands.
WRONG_COMMANDS = {
    "server": ("'server'", "relay --help"),
    "explain vmware-fusoin": ("'vmware-fusoin'", "did you mean vmware-fusion, "),
    "explain --set tos-reset.mask=0": ("--set tos-reset.mask=0 & from 1 to 255", "mask: bits"),
    "explain --observer pcap": ("--observer & 'pcap'", "sock-diag"),
    "doctor --observer pcap": ("--observer & 'pcap'", "sock-diag"),
    "doctor here": ("here", "relay doctor --help"),
    "explain --set": ("--set & needs a value", "relay explain --help"),
    "--version=1": ("--version & takes no value", "relay --help"),
    "profiles --all": ("--all", "relay profiles --help"),
    "run --seed 1.5 -- true": ("relay: --seed: '1.5' is not a whole number", "--seed 7 & `relay run --help`"),
    "probe --patience long 127.0.0.1:9": ("relay: --patience: 'long' is not a number", "5 & `relay probe --help`"),
}


def variable_of(option: str) -> str:
    return "RELAY_" + option.removeprefix("--").replace("-", "_").upper()


def options(*commands: str) -> dict[str, set[str]]:
    """Every option of these commands, or of all, and the environment variables that set it."""
    found: dict[str, set[str]] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for parameter in command.params if name in commands or not commands else ():
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                found.setdefault(max(parameter.opts, key=len), set()).add(parameter.envvar)
    return found


def complaint(*arguments: str, **env: str) -> Complaint:
    """What the relay says and does; should it serve after all, let it not meet another relay."""
    return relay_in_fork(*arguments, **{"RELAY_LISTEN": "127.0.0.1:0"} | env)


def check(done: Complaint, says: str, hints: str = "", exit_code: int = 2) -> None:
    """Whether it complained in one line with all of `says`, and one more with all of `hints`, and exited."""
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (exit_code, "", 2), done.stderr
    for line, start, parts in zip(lines, ("relay: ", "hint: "), (says, hints), strict=True):
        assert line.startswith(start)
        assert [part for part in parts.split(" & ") if part not in line] == [], line


@pytest.mark.parametrize("case", WRONG_OPTIONS)
def test_a_wrong_option_is_named_with_what_is_accepted(case: str) -> None:
    check(complaint("serve", *case.split()), *WRONG_OPTIONS[case])


@pytest.mark.parametrize("text", WRONG_PROFILES)
def test_a_wrong_profile_is_named_with_the_key_and_what_is_accepted(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    check(complaint("serve", "--profile", str(path)), *WRONG_PROFILES[text])


@pytest.mark.parametrize("case", WRONG_COMMANDS)
def test_other_commands_complain_likewise(case: str) -> None:
    check(complaint(*case.split()), *WRONG_COMMANDS[case])


@pytest.mark.parametrize("option", sorted(options("serve")))
def test_a_wrong_environment_variable_is_named_and_its_option_is_not(option: str) -> None:
    value = "./none/file" if option in {"--events", "--pcap", "--port-file"} else "?"
    done = complaint("serve", **{variable_of(option): value})
    check(done, variable_of(option))
    assert option not in done.stderr.splitlines()[0]


def test_every_option_has_an_environment_variable_of_its_name() -> None:
    found = options()
    assert {"--profile", "--listen", "--forward", "--strict", "--drain-timeout"} <= found.keys()
    assert found == {option: {variable_of(option)} for option in found}


@pytest.mark.parametrize("option", ["--listen", "--forward", "--inbound"])
def test_a_port_that_is_taken_is_named(option: str, backend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        value = f"127.0.0.1:{port}" if option == "--listen" else f"{port}:127.0.0.1:9"
        done = complaint("serve", "--backend", backend, option, value)
    check(done, f"{option} & 127.0.0.1:{port} & in use", "another port & port 0")


def test_a_port_file_that_cannot_be_written_is_named(backend: str, tmp_path: Path) -> None:
    done = complaint("serve", "--backend", backend, "--port-file", f"{tmp_path}/none/ports")
    check(done, f"--port-file & {tmp_path}/none/ports & No such file", "name a file")


def test_strictness_refuses_what_this_host_cannot_show(backend: str) -> None:
    lone = ("--set", "local-keepalive.enabled=false")
    done = complaint("serve", "--backend", backend, "--strict", "--observer", "none", *lone)
    check(done, "--strict & cannot show & tos-reset", "leave --observer none out", exit_code=3)


def test_the_bare_command_shows_what_there_is() -> None:
    done = relay()
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in ("serve", "profiles", "explain", "doctor") if name not in done.stdout] == []


@pytest.mark.parametrize("observer", ["ebpf", "socket-filter"])
def test_where_descriptors_are_missing_no_privilege_is_asked_for(observer: str) -> None:
    done = run(*with_few_descriptors(9), *RELAY, "serve", "--listen", "127.0.0.1:0", "--observer", observer)
    check(
        done,
        f"--observer: {observer} does not work here & Too many open files",
        "raise the limit of descriptors (ulimit -n)",
        exit_code=3,
    )
