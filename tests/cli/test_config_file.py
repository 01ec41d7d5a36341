"""`relay serve --config FILE`: every option can stand in it, and gives way to the environment and the command line."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from cli.test_settings import check, complaint, options, variable_of
from support import option_reference
from support.origins import Origin, echo, read_exactly
from support.programs import serve

# A value for every option that is not its default. Those that need a file or another process have theirs below.
VALUES: dict[str, object] = {
    "profile": "transparent",
    "set": ["tos-reset.mask=0xfc"],
    "listen": "127.0.0.1:0",
    "forward": ["0:127.0.0.1:9"],
    "inbound": ["0:127.0.0.1:7"],
    "auth": "me:secret",
    "auth-file": "auth",
    "allow-open": True,
    "backend": "trio",
    "workers": 1,
    "observer": "none",
    "strict": False,
    "events": "events.jsonl",
    "pcap": "flows.pcapng",
    "resolve": ["api.test:80:127.0.0.1"],
    "source": "127.0.0.1",
    "control": "127.0.0.1:0",
    "control-token-file": "token",
    "control-host": ["relay.test"],
    "toxiproxy-parity": True,
    "port-file": "ports",
    "handshake-timeout": 2.5,
    "connect-timeout": 5,
    "idle-timeout": 300,
    "drain-timeout": 1,
    "max-flows": 100,
    "time-scale": 10,
    "seed": 7,
    "quiet": True,
    "wire": ["udp:127.0.0.1:0"],
    "network": "192.168.128.0/24",
    "no-host": True,
    "dns": ["192.0.2.53"],
    "offload": "off",
}


def as_toml(values: dict[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def test_every_option_of_serve_can_stand_in_the_file(tmp_path: Path) -> None:
    assert {f"--{key}" for key in VALUES} | {"--config"} == options("serve").keys()
    own = {"port-file", "events", "auth-file", "pcap", "control-token-file"}
    values = {key: value for key, value in VALUES.items() if key not in own}
    (tmp_path / "relay.toml").write_text(as_toml(values))
    with serve(tmp_path, "--config", str(tmp_path / "relay.toml")) as served:
        started = served.wait_for("relay-started")
        assert len(served.ports) == 4
    assert (started["profile"], started["backend"], started["seed"], started["time_scale"]) == (
        "transparent",
        "trio",
        7,
        10,
    )
    assert "asks for" not in served.stderr()


@pytest.mark.parametrize("key", VALUES)
def test_each_option_is_taken_from_the_file(key: str, tmp_path: Path) -> None:
    """A value that no option accepts is named by file and key: so it was read there, and as that option."""
    path = tmp_path / "relay.toml"
    path.write_text(as_toml({key: [VALUES[key], 1]}))
    check(complaint("serve", "--config", str(path)), f"{path}: {key}: & is not", f"see --{key} in `relay serve --help`")


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(as_toml({"seed": 1, "time-scale": 2, "profile": "transparent"}))
    with serve(tmp_path, "--config", str(path), "--seed", "3", RELAY_SEED="4", RELAY_TIME_SCALE="5") as served:
        started = served.wait_for("relay-started")
    assert (started["seed"], started["time_scale"], started["profile"]) == (3, 5, "transparent")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_each_forward_has_faults_of_its_own(tmp_path: Path, backend: str) -> None:
    with Origin(echo) as origin:
        (tmp_path / "relay.toml").write_text(
            f'''
            profile = "transparent"
            backend = "{backend}"
            [[forward]]
            listen = 0
            target = "{origin.target}"
            latency = {{ delay_s = 1, when.first = 1 }}
            [[forward]]
            listen = "127.0.0.1:0"
            target = "{origin.target}"
            '''
        )
        with serve(tmp_path, "--config", str(tmp_path / "relay.toml"), "--listen", "127.0.0.1:0") as served:
            slow, plain = served.ports[1:]
            took = [round_trip_s(port) for port in (plain, slow, slow)]
    assert took[1] >= 2 > max(took[0], took[2])


def round_trip_s(port: int) -> float:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as app:
        began_s = time.monotonic()
        app.sendall(b"x")
        assert read_exactly(app, 1) == b"x"
        return time.monotonic() - began_s


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text(as_toml({"seed": 41}))
    with serve(tmp_path, RELAY_CONFIG=str(tmp_path / "relay.toml")) as served:
        assert served.wait_for("relay-started")["seed"] == 41


@pytest.mark.parametrize(
    ("text", "says", "hints"),
    [
        ("forwrad = []", "unknown key 'forwrad'", "did you mean forward? & the keys: profile"),
        ("idle_timeout = 5", "unknown key 'idle_timeout'", "did you mean idle-timeout?"),
        ("forward = [{ listen = 1, target = 'h' }]", "forward 1: target: cannot read 'h'", "HOST:PORT"),
        ("[[forward]]\nlisten = 1\ntarget = 'h:1'\nlatency.delay = 1", "forward 1: latency.delay", "delay_s?"),
        ("forward = ['1:h:2', 3]", "forward: ['1:h:2', 3] is not an array of strings", "--forward"),
        ("config = 'x'", "unknown key 'config'", "the keys: "),
        ("listen =", "not TOML", "toml.io"),
        (f"seed = 0x{'f' * 5000}", "not TOML: an integer has more than 64 bits", "toml.io"),
        (f"seed = {'[' * 3000}{']' * 3000}", "tables or arrays in more than 50 others", "three are enough"),
        ("listen = 1080", "listen: 1080 is not a string", "--listen"),
        ("strict = 1", "strict: 1 is not true or false", "--strict"),
        ("max-flows = true", "max-flows: True is not an integer", "--max-flows"),
        ("forward = '1:h:2'", "forward: '1:h:2' is not an array of strings", "--forward"),
        ("listen = '127.0.0.1:x'", "listen: 'x' is not a port", "0 to 65535"),
        ("idle-timeout = -5", "idle-timeout: -5 is out of range", "more than 0"),
        ("set = ['tos-reset.mask=0']", "set tos-reset.mask=0: 0 is not an integer", "mask: bits"),
        ("offload = 'off'", "offload: there is no guest without --wire", "add --wire SPEC"),
        ("set = ['stack.mss=1400']", "set stack.mss=1400: the stack is for guests", "relay serve --wire SPEC"),
        ("profile = 'vmware-fusoin'", "profile: unknown profile 'vmware-fusoin'", "did you mean vmware-fusion, "),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_file_and_key(text: str, says: str, hints: str, tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    check(
        complaint("serve", "--config", str(path), RELAY_LISTEN="" if "listen" in text else "127.0.0.1:0"),
        f"{path}: & {says}",
        hints,
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    check(complaint("serve", "--config", str(tmp_path)), f"--config: cannot read {tmp_path}: Is a directory", "TOML")


@pytest.mark.parametrize(("name", "meant"), [("RELAY_PROFIL", "RELAY_PROFILE"), ("RELAY_FORWARDS", "RELAY_FORWARD")])
def test_a_misspelt_variable_is_warned_of(name: str, meant: str) -> None:
    done = complaint("profiles", **{name: "x"})
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"relay: the environment variable {name} sets nothing",
        f"hint: did you mean {meant}?",
    ]


_OTHERS = ["RELAY_TOKEN", "RELAY_URL", "RELAY_DEBUG", "RELAY", "RELAY_CONTROL_TOKEN", "RELAY_PROBE_TOKEN"]


@pytest.mark.parametrize("name", [*_OTHERS, variable_of("--profile")])
def test_other_variables_are_not_warned_of(name: str) -> None:
    assert complaint("profiles", **{name: "transparent"}).stderr == ""


@pytest.mark.parametrize("command", option_reference.PAGES)
def test_the_page_about_a_command_has_every_option(command: str) -> None:
    assert option_reference.written(command) == option_reference.reference(command)
