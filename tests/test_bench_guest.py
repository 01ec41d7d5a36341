"""The benchmark's guest: what boots it, what it may write, and what is said where it cannot run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.bench_package import import_bench

if sys.platform != "linux":
    pytest.skip("the benchmark reads /proc", allow_module_level=True)
import_bench()
from bench import shapes  # noqa: E402
from bench.guest import (  # noqa: E402
    NoGuest,
    boot_command,
    command_line,
    find_modules,
    init_script,
    run_in_guest,
    run_until_it_halts,
)

MODULES = ("fs/overlayfs/overlay.ko", "drivers/net/veth.ko", "net/sched/sch_netem.ko", "net/sched/sch_tbf.ko")
INSTALL = "apt-get install user-mode-linux busybox-static"


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder in place of all that have programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("bench.through.ADMIN_PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    """Makes a kernel of version 6.1.2, which says that alone, with these modules, as Debian's package has them."""

    def make(*modules: str) -> Path:
        kernel = tmp_path / "bin" / "linux.uml"
        kernel.parent.mkdir()
        kernel.write_text("#!/bin/sh\necho 6.1.2\n")
        kernel.chmod(0o755)
        for name in modules:
            module = tmp_path / "lib" / "uml" / "modules" / "6.1.2" / "kernel" / name
            module.parent.mkdir(parents=True, exist_ok=True)
            module.touch()
        return kernel

    return make


def test_a_guest_boots_from_this_hosts_files_read_only_and_on_one_cpu(tmp_path: Path) -> None:
    command = boot_command("/usr/bin/linux.uml", tmp_path / "init", 1)
    assert command[:4] == ["taskset", "-c", "1", "/usr/bin/linux.uml"]
    assert {"rootfstype=hostfs", "rootflags=/", "ro", f"init={tmp_path}/init"} <= set(command)
    assert "rw" not in command


def test_a_guest_loads_its_modules_first_and_writes_on_the_host_into_the_results_alone() -> None:
    modules = [Path("/m/overlay.ko"), Path("/m/a b/sch_netem.ko")]
    script = init_script("/bin/busybox", modules, Path("/of ours"), "cd / && exec it 'with a word'")
    lines = [shlex.split(line) for line in script.splitlines()[1:]]
    loaded = [words[2] for words in lines if words[:2] == ["busybox", "insmod"]]
    assert loaded == ["/m/overlay.ko", "/m/a b/sch_netem.ko"]
    of_the_host = [words for words in lines if "hostfs" in words]
    assert of_the_host == [["busybox", "mount", "-t", "hostfs", "-o", "/of ours", "results", "run/results"]]
    overlay = next(number for number, words in enumerate(lines) if "overlay" in words)
    command = next(number for number, words in enumerate(lines) if "chroot" in words)
    assert lines.index(["busybox", "insmod", loaded[-1]]) < overlay < command
    assert lines[command][-2] == "cd / && exec it 'with a word'"
    assert lines[-1] == ["busybox", "poweroff", "-f"]


def test_a_guests_command_has_path_alone_of_this_hosts_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/one with a space")
    monkeypatch.setenv("SECRET", "of the host")
    assert shlex.split(command_line(["python", "-m", "it"], Path("/check out"))) == [
        *["cd", "/check out", "&&", "exec", "env", "-i", "PATH=/usr/bin:/one with a space", "HOME=/root"],
        *["LANG=C.UTF-8", "BENCH_GUEST=1", "python", "-m", "it"],
    ]


def test_the_modules_are_those_of_the_kernels_own_version(package: Callable[..., Path]) -> None:
    found = find_modules(package(*MODULES), "6.1.2")
    assert [module.name for module in found] == [Path(name).name for name in MODULES]


def test_a_module_that_is_missing_is_named_with_the_way_to_get_it(package: Callable[..., Path]) -> None:
    kernel = package(*MODULES[:2])
    with pytest.raises(NoGuest, match=rf"/6\.1\.2/kernel/net/sched/sch_netem\.ko is not there: {INSTALL}$"):
        find_modules(kernel, "6.1.2")


@pytest.mark.usefixtures("no_programs")
def test_a_host_without_user_mode_linux_gets_one_line_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BENCH_GUEST", raising=False)
    monkeypatch.setattr(sys, "argv", ["shapes", "--guest"])
    with pytest.raises(SystemExit) as left:
        shapes.main()
    assert left.value.code == 3
    said = f"python -m bench.shapes: a guest takes linux.uml, which is not here: {INSTALL}\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.system
def test_a_guest_that_ends_before_its_command_is_an_error(
    monkeypatch: pytest.MonkeyPatch, package: Callable[..., Path]
) -> None:
    kernel = package(*MODULES)
    for name in ("busybox", "taskset"):
        kernel.with_name(name).write_text("#!/bin/sh\necho 'Kernel panic'\n")
        kernel.with_name(name).chmod(0o755)
    monkeypatch.setenv("PATH", str(kernel.parent))
    with pytest.raises(NoGuest, match="the guest ended before its command"):
        run_in_guest(["true"])


@pytest.mark.system
def test_ctrl_c_ends_all_processes_of_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as said, open(writing, "w", encoding="utf-8") as stderr:

        def interrupted(_: object) -> None:  # in place of waiting for the guest
            monkeypatch.undo()
            assert said.readline() == "booted\n"
            raise KeyboardInterrupt

        monkeypatch.setattr("sys.stderr", stderr)
        monkeypatch.setattr("subprocess.Popen.wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_until_it_halts(["sh", "-c", "sleep 600 & echo booted; wait"])
        stderr.close()
        assert said.read() == "", "it ends with the last process that has this stream"


def test_ctrl_c_has_the_exit_code_of_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.delenv("BENCH_GUEST", raising=False)
    monkeypatch.setattr(shapes, "run_in_guest", interrupted)
    monkeypatch.setattr(sys, "argv", ["shapes", "--guest"])
    with pytest.raises(SystemExit) as left:
        shapes.main()
    assert left.value.code == 130


def test_a_part_that_nothing_has_is_a_mistake_and_those_there_are_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["shapes", "--only", "nosuch"])
    with pytest.raises(SystemExit) as left:
        shapes._options()
    assert left.value.code == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    for word in ("'nosuch'", "latency", "bandwidth", "throughput", "changes", "intact"):
        assert word in complaint
