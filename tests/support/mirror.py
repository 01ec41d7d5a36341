"""A mirror on this host's loopback: a repository of Debian's kind and an index of Python's, with one package each."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.capabilities import need_program

NAME, VERSION = "greeting", "1.0"
SAID = "hello from behind the NAT"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
        """Keep quiet."""


@contextlib.contextmanager
def served(directory: Path) -> Iterator[int]:
    """Serve the directory's files by HTTP while the block lasts; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(directory))) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(60)


def debian_repository(directory: Path) -> None:
    """Make a flat repository without signatures (sources.list(5), `[trusted=yes]`)."""
    tree, file = directory / "tree", directory / f"{NAME}_{VERSION}_all.deb"
    content = tree / "usr" / "share" / NAME
    content.mkdir(parents=True)
    content.joinpath("said").write_text(f"{SAID}\n")
    (tree / "DEBIAN").mkdir()
    control = (
        f"Package: {NAME}\nVersion: {VERSION}\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: says it\n"
    )
    (tree / "DEBIAN" / "control").write_text(control)
    subprocess.run([need_program("dpkg-deb"), "--root-owner-group", "--build", tree, file], check=True, stdout=-3)
    data = file.read_bytes()
    found = f"Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    (directory / "Packages").write_text(control + found)


def python_index(directory: Path) -> None:
    """Make an index (PEP 503) with a wheel."""
    folder = directory / "simple" / NAME
    folder.mkdir(parents=True)
    wheel, information = f"{NAME}-{VERSION}-py3-none-any.whl", f"{NAME}-{VERSION}.dist-info"
    files = {
        f"{NAME}.py": f"SAID = {SAID!r}\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        lines = [f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items()]
        archive.writestr(f"{information}/RECORD", "".join([*lines, f"{information}/RECORD,,\n"]))
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel}">{wheel}</a>\n')


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
