"""Real programs, run as a user would: the relay's own command line, and an sshd."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from support.capabilities import missing, need_program, need_root
from support.ports import free_port

RELAY = (str(Path(sys.executable).with_name("relay")),)
"""The installed command: `python -m relay` would find the source folder first."""
_START_S = 60.0


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without proxy or relay settings of the developer's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("RELAY_")
    }
    return kept | extra


def run(
    *command: str,
    timeout_s: float = 90.0,
    env: dict[str, str] | None = None,
    input_: str | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and keep what it said."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=env if env is not None else clean_environment(),
        input=input_,
        stdin=subprocess.DEVNULL if input_ is None else None,
        cwd=cwd,
    )


def relay(*arguments: str, timeout_s: float = 90.0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a relay command that ends by itself."""
    return run(*RELAY, *arguments, timeout_s=timeout_s, env=clean_environment(**env))


def as_ordinary_user() -> tuple[str, ...]:
    """The command that runs another as an ordinary user with one privilege: to read root's files.

    The interpreter may be among those.
    """
    need_root()
    may_read = "-all,+dac_read_search"
    capabilities = (f"--inh-caps={may_read}", f"--ambient-caps={may_read}", f"--bounding-set={may_read}")
    return (need_program("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", *capabilities)


def with_few_descriptors(count: int) -> tuple[str, ...]:
    """The command that runs another with so many at most: as a hard limit, for a relay raises its soft one."""
    if sys.platform != "linux":
        missing("needs prlimit")
    return (need_program("prlimit"), f"--nofile={count}:{count}")


@dataclass
class ServedRelay:
    """A `relay serve` that is running."""

    process: subprocess.Popen[str]
    ports: list[int]
    """The proxy's port, then the forwards', then the inbound forwards'."""
    events_file: Path
    stderr_file: Path

    @property
    def port(self) -> int:
        return self.ports[0]

    def events(self) -> list[dict[str, Any]]:
        """The JSON lines so far."""
        whole, _, _ = self.events_file.read_text().rpartition("\n")  # a line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for(self, event: str, *, timeout_s: float = 60.0, **fields: Any) -> dict[str, Any]:
        """The first event of this name with these fields, once it is written."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for record in self.events():
                if record["event"] == event and fields.items() <= record.items():
                    return record
            time.sleep(0.02)  # a file cannot be waited on
        raise AssertionError(f"no {event} {fields} within {timeout_s:g} s; there were {self.events()}")

    def wait_for_count(self, event: str, count: int, *, timeout_s: float = 60.0) -> None:
        """Wait until so many events of this name are written."""
        deadline_s = time.monotonic() + timeout_s
        while (found := sum(record["event"] == event for record in self.events())) < count:
            assert time.monotonic() < deadline_s, f"{found} of {count} {event} within {timeout_s:g} s"
            time.sleep(0.02)  # a file cannot be waited on

    def count(self, event: str, **fields: Any) -> int:
        """How many events of this name, and with these fields, there are so far."""
        return sum(record["event"] == event and fields.items() <= record.items() for record in self.events())

    def stderr(self) -> str:
        return self.stderr_file.read_text()

    def wait_for_stderr(self, text: str, *, timeout_s: float = 60.0) -> str:
        """All that was said on stderr, once `text` is in it."""
        deadline_s = time.monotonic() + timeout_s
        while text not in self.stderr():
            assert time.monotonic() < deadline_s, f"no {text!r} within {timeout_s:g} s in {self.stderr()}"
            time.sleep(0.02)  # a file cannot be waited on
        return self.stderr()


@contextlib.contextmanager
def serve(
    directory: Path,
    *arguments: str,
    exit_code: int = 0,
    prefix: Sequence[str] = (),
    stdout: TextIO | None = None,
    log: bool = True,
    **env: str,
) -> Iterator[ServedRelay]:
    """Run `relay serve` with these arguments until the block ends, then stop it with SIGTERM and check how it ended.

    `prefix` is a command that runs it, such as `as_ordinary_user()`. Without `log` it keeps no event log at all.
    """
    if sys.platform == "win32":
        missing("on Windows no signal stops a process")
    port_file, events_file, stderr_file = (directory / name for name in ("ports", "events.jsonl", "stderr"))
    port_file.unlink(missing_ok=True)
    command = [
        *prefix,
        *RELAY,
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--port-file",
        str(port_file),
        *(("--events", str(events_file)) if log else ("--quiet",)),
    ]
    with stderr_file.open("w") as stderr:
        process = subprocess.Popen(
            [*command, *arguments], stdout=stdout, stderr=stderr, text=True, env=clean_environment(**env)
        )
    try:
        deadline_s = time.monotonic() + _START_S
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"relay serve did not start: {stderr_file.read_text()}")
            time.sleep(0.02)  # a file cannot be waited on
        yield ServedRelay(process, [int(line) for line in port_file.read_text().split()], events_file, stderr_file)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == exit_code, stderr_file.read_text()
        assert "Traceback" not in stderr_file.read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@dataclass
class Sshd:
    """A real sshd on loopback that lets one key in."""

    port: int
    key_file: Path
    log_file: Path

    def ssh(
        self, port: int, *options: str, command: Sequence[str] = ("echo", "it-lives"), timeout_s: float = 90.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command through ssh to 127.0.0.1:PORT; each option is what follows a `-o`."""
        return run("ssh", *self.arguments(*options), "-p", str(port), "root@127.0.0.1", *command, timeout_s=timeout_s)

    def arguments(self, *options: str) -> list[str]:
        """What makes ssh use the key and nothing of the developer's own."""
        always = (
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "BatchMode=yes",
            "LogLevel=ERROR",
            "KexAlgorithms=curve25519-sha256",  # the default one takes as much CPU time as all the rest
        )
        spelt = [word for option in (*always, *options) for word in ("-o", option)]
        return ["-F", "/dev/null", "-i", str(self.key_file), *spelt]


def sshd_command(directory: Path, port: int, *options: str) -> list[str]:
    """What runs an sshd in the foreground that lets one key of the directory's in, with these further options."""
    program, keygen = need_program("sshd"), need_program("ssh-keygen")
    for name in ("host_key", "user_key"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)  # Debian's sshd insists on its directory for privilege separation
    keys = f"AuthorizedKeysFile={directory / 'user_key.pub'}"
    settings = (keys, "StrictModes=no", "UsePAM=no", "PidFile=none", *options)
    spelt = [word for setting in settings for word in ("-o", setting)]
    return [program, "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", str(directory / "host_key"), *spelt]


@contextlib.contextmanager
def sshd(directory: Path, *options: str, port: int = 0, prefix: Sequence[str] = ()) -> Iterator[Sshd]:
    """Run an sshd with these further options until the block ends; port 0 picks one.

    `prefix` is a command that runs it.
    """
    need_root()
    port = port or free_port()
    command = [*prefix, *sshd_command(directory, port, "ListenAddress=127.0.0.1", *options)]
    log_file = directory / "sshd.log"
    with log_file.open("w") as log:
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait_for_listener(port, process, log_file)
        yield Sshd(port, directory / "user_key", log_file)
    finally:
        process.terminate()
        process.wait(60)


def _wait_for_listener(port: int, process: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)  # sshd does not say when it listens
    raise AssertionError(f"sshd did not start: {log_file.read_text()}")
