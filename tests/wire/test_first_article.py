"""The first article once more, by its own scripts and commands, word for word: what it printed comes out.

The servers have the article's addresses, in a network of the test's own. Behind the control profile all of it works.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from captures.scripts import ANSWER, ANSWERED, MARKED_AFTER, MARKED_BEFORE, RESET, WEB_PORT
from support.behind_nat import run_inside
from support.capabilities import need_program
from support.namespaces import in_own_network
from support.origins import Origin
from support.programs import clean_environment, run, sshd
from support.slow_network import FAR, NEAR, SlowNetwork
from support.tshark import read_fields

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

PROFILES = ("vmware-fusion", "transparent")
DELAY_S = 0.01
GREETING = "Hi r4um! You've successfully authenticated, but GitHub does not provide shell access."
BROKEN = re.compile(r"client_loop: send disconnect: Broken pipe|Connection reset by peer")
"""The reset is met by a write, as in the article, or by a read."""
HOST_FIN = f"frame.interface_name == host && tcp.flags.fin && ip.dst == {FAR}"
NO_REPOSITORY = """\
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""
COMMANDS = f"""
cd "$1"
git clone git@github.com:r4um/dotfiles.git > clone 2>&1
tshark -P -w {FAR}.pcap -n -i eth0 host {FAR} > printed 2> /dev/null &
until [ -s {FAR}.pcap ]; do sleep 0.05; done
ssh -vv git@github.com > ssh 2>&1
until tshark -r {FAR}.pcap -Y 'tcp.flags.fin == 1 || tcp.flags.reset == 1' 2> /dev/null | grep -q .; do sleep 0.1; done
kill $!
wait
script -qec "ssh -o IPQoS=lowdelay git@{FAR}" /dev/null > lowdelay
"""
"""The guest's device is eth0. `script` gives ssh a terminal, as the article's author had one; without one ssh marks its
connection by the second value of IPQoS. The first would change nothing: since the article ssh marks its SYN by it, too.
"""


def moved(connection: socket.socket) -> None:
    """Answer a request as the article's web server did."""
    connection.recv(4096)
    connection.sendall(ANSWER)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_marking_scripts(tmp_path: Path, profile: str) -> None:
    for name, text in (("before", MARKED_BEFORE), ("after", MARKED_AFTER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ip_ds_48.py").write_text(text)
    command = f"cd {tmp_path}/before; {sys.executable} ip_ds_48.py; cd ../after; {sys.executable} ip_ds_48.py"

    def play() -> subprocess.CompletedProcess[str]:
        with SlowNetwork(DELAY_S), Origin(moved, NEAR, WEB_PORT):
            return run_inside(tmp_path, ["sh", "-c", command], "--profile", profile)[0]

    done = in_own_network(play)
    if profile == "transparent":
        assert (done.stdout, done.stderr, done.returncode) == (2 * ANSWERED, "", 0)
    else:
        told = re.sub(r"^ +[\^~]+\n", "", done.stderr.replace(f"{tmp_path}/after/", ""), flags=re.MULTILINE)
        assert (done.stdout, told, done.returncode) == (ANSWERED, RESET, 1)


def github(directory: Path) -> tuple[str, tuple[str, ...]]:
    """Make what stands for GitHub: sshd's options, and the command that runs another where its user `git` exists.

    There ssh, too, has a key, and nothing of the developer's own.
    """
    home = directory / "home"
    (home / "r4um").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "--bare", home / "r4um" / "dotfiles.git"], check=True, env=clean_environment())
    shell = directory / "shell"
    served = f'[ -n "$SSH_ORIGINAL_COMMAND" ] && exec git-shell -c "$SSH_ORIGINAL_COMMAND"\necho "{GREETING}"\n'
    shell.write_text(f"#!/bin/sh\ncd {home}\n{served}")
    shell.chmod(0o755)
    (directory / "passwd").write_text(f"{Path('/etc/passwd').read_text()}git:x:0:0::{home}:/bin/sh\n")
    settings = (
        "IPQoS af21 cs1",  # OpenSSH's own default, which Debian has changed
        "StrictHostKeyChecking no",
        "UserKnownHostsFile /dev/null",
        f"IdentityFile {directory}/user_key",
    )
    (directory / "ssh_config").write_text("\n".join((*settings, "")))
    mounts = f"mount --bind {directory}/passwd /etc/passwd; mount --bind {directory}/ssh_config /etc/ssh/ssh_config"
    return str(shell), ("unshare", "--mount", "sh", "-c", f'{mounts}; exec "$@"', "sh")


def session(directory: Path, profile: str) -> dict[str, str]:
    """What the article's commands print, by the names of their files."""

    def play() -> None:
        shell, prefix = github(directory)
        options = (f"ListenAddress={NEAR}", f"ForceCommand={shell}", "PermitTTY=no")
        with SlowNetwork(DELAY_S), sshd(directory, *options, port=22, prefix=prefix):
            words = ("--profile", profile, "--resolve", f"github.com:22:{FAR}", "--pcap", str(directory / "packets"))
            run_inside(directory, ["sh", "-c", COMMANDS, "sh", str(directory)], *words, prefix=prefix)

    for program in ("git", "ssh", "tshark", "script"):
        need_program(program)
    in_own_network(play)
    names = ("clone", "ssh", "printed", "lowdelay")
    return {name: (directory / name).read_text().replace("\r\n", "\n") for name in names}


def test_git_and_ssh_are_reset_and_lowdelay_cures_it(tmp_path: Path) -> None:
    told = session(tmp_path, "vmware-fusion")
    assert BROKEN.search(told["clone"]), told["clone"]
    assert told["clone"].endswith(NO_REPOSITORY)
    assert f"Authenticated to github.com ([{FAR}]:22)" in told["ssh"]
    assert "debug2: channel 0: open confirm rwindow" in told["ssh"]
    assert BROKEN.search(told["ssh"]), told["ssh"]
    assert GREETING not in told["ssh"]
    check_cure(told["lowdelay"])
    check_capture(tmp_path, told["printed"])
    closed = read_fields(tmp_path / "packets", "tcp.flags.str", "frame.comment", options=("-Y", HOST_FIN))
    assert re.search(r"ssh\[\d+\], tos-reset", str(closed)), closed


def test_behind_the_control_profile_all_of_them_work(tmp_path: Path) -> None:
    told = session(tmp_path, "transparent")
    assert "warning: You appear to have cloned an empty repository." in told["clone"]
    assert GREETING in told["ssh"]
    check_cure(told["lowdelay"])
    assert "[RST]" not in told["printed"]


def check_cure(said: str) -> None:
    closed = f"Connection to {FAR} closed."
    assert list(filter(None, said.splitlines()))[-3:] == [
        "PTY allocation request failed on channel 0",
        GREETING,
        closed,
    ]


def check_capture(directory: Path, printed: str) -> None:
    """What tshark says of the guest's side, with the numbers of this session: frames 1 to 3, 35 and 36.

    Here the guest has acknowledged what came before, and nothing is sent again as in frames 37 and 38.
    """
    frames = [line.split(maxsplit=2) for line in printed.splitlines()]
    handshake = "\n".join(text for *_, text in frames[:3])
    assert re.search(r"\[SYN, ACK\] Seq=0 Ack=1 Win=64240 Len=0 MSS=1460$", handshake, re.MULTILINE), handshake
    at = next(number for number, (*_, text) in enumerate(frames) if "[RST]" in text)
    (marked, _, text), (_, _, reset) = frames[at - 1], frames[at]
    assert re.fullmatch(rf"{FAR} → 192.168.127.128 TCP 40 22 → \d+ \[RST\] Seq=\d+ Win=64240 Len=0", reset), reset
    assert text.startswith(f"192.168.127.128 → {FAR} SSHv2"), text
    unmarked = next(number for number, _, each in reversed(frames[: at - 1]) if each.startswith("192.168.127.128"))
    changed = differences(directory, unmarked, marked)
    assert changed["ip.dsfield"] == ("0x48", "0x20")
    assert changed["ip.dsfield.dscp"] == ("18", "8")


def differences(directory: Path, one: str, other: str) -> dict[str, tuple[str, ...]]:
    """The article's comparison of two frames: the fields that differ, and their values in either."""
    read = " ".join(f"tshark -r {FAR}.pcap -T json 'frame.number == {number}' > {number};" for number in (one, other))
    told = run("sh", "-c", f"{read} diff -U1 {one} {other}", cwd=directory).stdout
    changed: dict[str, tuple[str, ...]] = {}
    for field, value in re.findall(r'^[-+] +"([\w.]+)": "(.*)"', told, re.MULTILINE):
        changed[field] = (*changed.get(field, ()), value)
    return changed
