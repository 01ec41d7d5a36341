"""Which names stand in the hosts file, also after it has changed."""

from __future__ import annotations

from pathlib import Path

from relay.net.hosts_file import HOSTS, HostsFile


def test_names_are_found_in_any_column_and_spelling(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"\xef\xbb\xbf# caf\xe9\n127.0.0.1\tApp.Test api.test # www.test\r\n\n::1 six.test")
    names = HostsFile(path)
    assert all(name in names for name in ("app.test", "api.test", "six.test", "localhost"))
    assert "other.test" not in names
    assert "test" not in names


def test_the_file_may_change_or_go(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    names = HostsFile(path)
    assert "late.test" not in names
    assert "localhost" in names
    path.write_text("127.0.0.1 late.test\n")
    assert "late.test" in names
    path.unlink()
    assert "late.test" not in names


def test_this_host_has_one() -> None:
    assert HOSTS.is_file()
