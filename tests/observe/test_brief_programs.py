"""A program that lives for a few milliseconds is named in the event log, as long as it lives when it is accepted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relay.log import EventLog
from relay.testing import MemoryLeg
from support.capabilities import missing, need_program
from support.measuring import least
from support.memory_driver import MemoryDriver, forward
from support.origins import Origin, echo
from support.programs import ServedRelay, serve

_CONNECT_AND_END = r"""
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    char byte = 'x';
    return connect(sock, (void *)&address, sizeof address) || write(sock, &byte, 1) != 1 || read(sock, &byte, 1) != 1;
}
"""
_PROGRAMS = 60
_MAY_BE_UNNAMED = 2  # whom other processes, started at the same moment, have pushed out of the newest


def opened(served: ServedRelay) -> list[dict[str, Any]]:
    return [record for record in served.events() if record["event"] == "flow-opened"]


@pytest.mark.system
@pytest.mark.parametrize("workers", ["1", "2"])
def test_programs_that_end_after_one_byte_are_named(workers: str, backend: str, tmp_path: Path) -> None:
    if sys.platform != "linux":
        missing("processes are named on Linux")
    program = tmp_path / "brief"
    (tmp_path / "brief.c").write_text(_CONNECT_AND_END)
    subprocess.run([need_program("cc"), "-o", str(program), str(tmp_path / "brief.c")], check=True)
    pids: list[int] = []
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--forward", f"0:{origin.target}", "--workers", workers) as served,
    ):

        def unnamed() -> int:
            for _ in range(_PROGRAMS):
                with subprocess.Popen([str(program), str(served.ports[1])]) as process:
                    pids.append(process.pid)
            served.wait_for_count("flow-ended", len(pids))
            return [each["process"] for each in opened(served)[-_PROGRAMS:]].count(None)

        assert least(unnamed, _MAY_BE_UNNAMED + 1) <= _MAY_BE_UNNAMED
        told = [each["process"] for each in opened(served) if each["process"] is not None]
        assert len(opened(served)) == len(pids)
    assert {each["name"] for each in told} == {"brief"}
    assert {each["pid"] for each in told} <= set(pids)


@pytest.mark.parametrize("read", [True, False])
def test_a_process_is_looked_for_only_if_the_log_has_a_reader(read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[MemoryLeg] = []

    def glimpse(leg: MemoryLeg) -> None:
        asked.append(leg)

    monkeypatch.setattr(MemoryLeg, "glimpse_process", glimpse)
    nat = MemoryDriver()
    if not read:
        nat.driver.log = EventLog()
    nat.call(forward())
    assert len(asked) == read
