"""ssh and git, unmodified, die behind VMware's NAT; and the setting that cures them.

OpenSSH marks its packets anew once it has authenticated: with the second of the two values of `IPQoS`, where there is
no terminal. With `af21 cs1`, its default since 7.8, that is another precedence than the SYN's, and a reset. An sshd of
the example's own stands behind a port forward of the relay's; it lets in this user, with a key made for it.

    python ssh_and_git.py

Needs Linux, OpenSSH with its server (installed, not running) and git. Root is not needed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from relay import RelayError, serve_in_thread

SSHD_CONFIG = "HostKey {home}/key\nAuthorizedKeysFile {home}/key.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
SSH_CONFIG = """
HostName 127.0.0.1
IdentityFile "{home}/key"
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
BatchMode yes
LogLevel error
KexAlgorithms curve25519-sha256
"""


@contextlib.contextmanager
def sshd(home: Path) -> Iterator[int]:
    """Run an sshd with its key and configuration in `home` until the block ends; returns its port."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "key"], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # Debian's insists on it
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port: int = holder.getsockname()[1]
    (home / "sshd_config").write_text(f"ListenAddress 127.0.0.1:{port}\n{SSHD_CONFIG.format(home=home)}")
    (home / "ssh_config").write_text(SSH_CONFIG.format(home=home))
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "sshd"
    server = subprocess.Popen([program, "-D", "-f", home / "sshd_config"], stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)  # it does not say when it listens
        yield port
    finally:
        server.terminate()
        server.wait()


def attempt(home: Path, port: int, marking: str) -> None:
    """Run a command over ssh, and clone a repository over ssh."""
    ssh = ["ssh", "-F", str(home / "ssh_config"), "-o", f"IPQoS={marking}", "-p", str(port)]
    clone = ["git", "clone", "-q", "--bare", f"nat:{home / 'repository'}", str(home / f"clone-by-{port}-{marking}")]
    env = os.environ | {"GIT_SSH_COMMAND": shlex.join(ssh)}
    for name, command in (("ssh", [*ssh, "nat", "true"]), ("git clone", clone)):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        reason = done.stderr.splitlines()[0] if done.stderr else f"exit code {done.returncode}"
        told = "works" if done.returncode == 0 else f"fails: {reason}"
        print(f"  IPQoS={marking:12}{name:12}{told}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        subprocess.run(["git", "init", "-q", "--bare", home / "repository"], check=True)
        with sshd(home) as port:
            for profile in ("transparent", "vmware-fusion"):
                print(f"{profile}:", flush=True)
                with serve_in_thread(profile, strict=True) as nat:
                    for marking in ("lowdelay", "af21 cs1"):
                        attempt(home, nat.forward("127.0.0.1", port).port, marking)
                died = [flow for flow in nat.flows if flow.ending and flow.ending["because"] == "tos-reset"]
                print(f"  {len(nat.flows)} connections, {len(died)} ended by tos-reset", flush=True)


if __name__ == "__main__":
    try:
        main()
    except RelayError as error:
        sys.exit(f"{error}\nhint: {error.hint}")
