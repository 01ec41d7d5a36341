"""`relay check`: every mistake of a configuration, or of a profile, is one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.test_settings import complaint

CONFIGURATION = """\
profle = "transparent"
listen = "127.0.0.1:x"
seed = "7"
set = ["tos-reset.mask=1", "tos-reset.mask=0", "latency.delay_s=-1"]
strict = true

[[forward]]
listen = 16379
target = "127.0.0.1"
[forward.latency]
dely_s = 0.1
when = { nth = -1, prot = 1 }

[[forward]]
listen = 1
target = "h:1"
latncy = {}

[[inbound]]
target = "h:1"
"""
_FORWARD = "[[forward]]\nlisten = 16001\ntarget = "
PROFILE = """\
title = "Mine"
extends = "vmware-fusion"
aliases = "x"

[tos-rset]
mask = 1

[tos-reset]
mask = 0
maks = 1
status = "seen"

[stack]
mss = 1
"""


def checked(tmp_path: Path, text: str, name: str = "relay.toml") -> list[str]:
    path = tmp_path / name
    path.write_text(text)
    done = complaint("check", str(path))
    assert done.returncode == (2 if done.stdout else 0)
    assert done.stderr == ""
    return [line.removeprefix(f"{path}") for line in done.stdout.splitlines()]


def test_a_configuration_has_each_mistake_in_a_line_of_its_own(tmp_path: Path) -> None:
    expected = [
        (":1: unknown key 'profle'", "(did you mean profile? the keys: profile, "),
        (":2: listen: 'x' is not a port", "0 to 65535)"),
        (":3: seed: '7' is not an integer", "(see --seed in `relay serve --help`)"),
        (":4: set tos-reset.mask=0: 0 is not an integer", "(mask: "),
        (":4: set latency.delay_s=-1: -1.0 is not a number", "(delay_s: "),
        (":9: forward 1: target: cannot read '127.0.0.1'", "HOST:PORT"),
        (":11: forward 1: latency.dely_s: latency has no setting 'dely_s'", "(did you mean delay_s? "),
        (":12: forward 1: latency.when.nth: -1 is not an integer", "(nth: "),
        (":12: forward 1: latency.when.prot: when has no setting 'prot'", "(did you mean port? "),
        (":17: forward 2: unknown key or behaviour 'latncy'", "(did you mean latency? "),
        (":19: inbound 1: no listen", "(give both, "),
    ]
    lines = checked(tmp_path, CONFIGURATION)
    assert len(lines) == len(expected), lines
    for line, (begin, part) in zip(lines, expected, strict=True):
        assert line.startswith(begin)
        assert part in line


def test_a_profile_too(tmp_path: Path) -> None:
    expected = [
        ":3: aliases: 'x' is not a list of strings (",
        ":5: unknown key or behaviour 'tos-rset' (did you mean tos-reset? ",
        ":9: tos-reset.mask: 0 is not an integer from 1 to 255 (mask: ",
        ":10: tos-reset.maks: tos-reset has no setting 'maks' (did you mean mask? ",
        ":11: tos-reset.status: unknown status 'seen' (",
        ":14: ",
    ]
    lines = checked(tmp_path, PROFILE)
    assert len(lines) == len(expected), lines
    for line, begin in zip(lines, expected, strict=True):
        assert line.startswith(begin)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("listen =", ":1: not TOML: "),
        (f"seed = 0x{'f' * 5000}", ": not TOML: an integer has more than 64 bits ("),
        (f"seed = {'[' * 3000}{']' * 3000}", ": tables or arrays in more than 50 others (three are enough)"),
        (f"{_FORWARD}'a:1'\n{_FORWARD}'b:1'", ":4: forward 127.0.0.1:16001:b:1: --forward 127.0.0.1:16001:a:1 listens"),
        (f"{_FORWARD}'a:1'\n{_FORWARD}'a:1'", ":4: forward 127.0.0.1:16001:a:1: --forward 127.0.0.1:16001:a:1 listens"),
        ('title = "x"\nextends = "none"', ":2: extends: unknown profile 'none' ("),
        (
            'title = "x"\n[cut]\nstatus = "assumed"\nevidence = 3\nafter_s = 1',
            ":4: cut.evidence: not a list of tables (",
        ),
        ('title = "x"\n[cut]\nhow = "fin"', ":2: cut: nothing says when it cuts (set after_bytes, "),
        ("[[forward]]\nlisten = 0\ntarget = 'h:1'\n[forward.cut]\nhow = 'fin'", ":1: forward 127.0.0.1:0:h:1 cut.how"),
        (
            'title = "x"\n[precomplete-handshake]\norder = "lockstep"\nfailed = "fin"',
            ":2: precomplete-handshake: failed of fin does not go with the order lockstep: a connection that was not "
            "granted has no FIN (set order to internal-first, or failed to rst)",
        ),
        (
            "profile = 'haproxy'\nset = ['precomplete-handshake.order=lockstep']",
            ":1: haproxy: precomplete-handshake: failed of fin does not go with the order lockstep: ",
        ),
        (
            'title = "x"\n[idle-timeout]\ninternal = "timeout"',
            ":3: idle-timeout.internal: 'timeout' is not 'silence' or ",
        ),
        ("profile = 'none'", ":1: profile: unknown profile 'none' ("),
        ("idle-timeout = -1", ":1: idle-timeout: -1 is out of range ("),
        ("toxiproxy-parity = true", ":1: toxiproxy-parity: nothing to control without --control ("),
        ("control-host = ['x']", ":1: control-host: nothing to control without --control (add --control HOST:PORT)"),
    ],
)
def test_one_mistake(tmp_path: Path, text: str, line: str) -> None:
    lines = checked(tmp_path, text)
    assert len(lines) == 1, lines
    assert lines[0].startswith(line)


def test_what_is_right_says_nothing(tmp_path: Path) -> None:
    good = "listen = '127.0.0.1:0'\n[[forward]]\nlisten = 0\ntarget = 'h:1'\n[forward.latency]\nwhen = { nth = 1 }\n"
    assert checked(tmp_path, good) == []
    assert checked(tmp_path, 'title = "x"\n[latency]\nwhen = { host = "a" }\n') == []


def test_several_files_are_checked_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("a = 1")
    (tmp_path / "b.toml").write_text("b = 1")
    done = complaint("check", str(tmp_path / "a.toml"), str(tmp_path / "b.toml"))
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [
        f"{tmp_path}/a.toml:1",
        f"{tmp_path}/b.toml:1",
    ]
    done = complaint("check", str(tmp_path / "none.toml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"relay: {tmp_path}/none.toml: No such file or directory\nhint: ")
