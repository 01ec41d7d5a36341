"""What a process that lacks a capability is advised: a way that works where it runs, and arms no other program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Collection

import pytest

from observe.conftest import REPOSITORY
from relay.observe.kernel.privileges import Capability, Standing, how_to_get, standing

BPF, NET_ADMIN, NET_RAW = Capability.BPF, Capability.NET_ADMIN, Capability.NET_RAW
ORDINARY_UID = 65534
LINUX_5_7 = 37  # its last capability


def process(
    uid: int = 0, held: Collection[Capability] = (), *, in_container: bool = False, last_capability: int = 40
) -> Standing:
    return Standing(uid, uid, sum(1 << each for each in held), in_container, last_capability)


@pytest.mark.parametrize(
    ("where", "needed", "way"),
    [
        (process(1000), BPF, "run it with sudo, or "),
        (process(1000), BPF, "--inh-caps +bpf,+net_admin --ambient-caps +bpf,+net_admin COMMAND"),
        (process(1000, [NET_ADMIN]), BPF, "--inh-caps +bpf,+net_admin "),
        (process(1000), NET_RAW, "--ambient-caps +bpf,+net_admin,+net_raw "),
        (process(1000, last_capability=LINUX_5_7), NET_RAW, "--ambient-caps +net_admin,+net_raw "),
        (
            process(1000, in_container=True),
            BPF,
            "start the container with --user root --cap-add BPF --cap-add NET_ADMIN",
        ),
        (process(in_container=True), NET_ADMIN, "start the container with --cap-add BPF --cap-add NET_ADMIN"),
        (process(held=[NET_RAW]), NET_ADMIN, "start it where root has CAP_BPF and CAP_NET_ADMIN: "),
        (process(held=[BPF]), BPF, "run it outside of the sandbox "),
        (process(1000, held=[BPF], in_container=True), BPF, "run it outside of the sandbox "),
    ],
)
def test_the_way_to_a_capability_depends_on_where_the_process_is(where: Standing, needed: Capability, way: str) -> None:
    assert way in how_to_get([needed], where)


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("in_container", [False, True])
def test_root_needs_no_sudo_and_the_interpreter_is_never_armed(uid: int, in_container: bool) -> None:
    way = how_to_get([BPF], process(uid, in_container=in_container))
    assert ("sudo" in way) is (uid != 0 and not in_container)
    assert "setcap" not in way


SEEN = """
from relay.abilities import Ability, Want
from relay.observe import survey
print([survey().of(Want(ability)).provider for ability in (Ability.TOS, Ability.BLACKHOLE)])
"""


@pytest.mark.system
def test_the_command_that_is_named_gives_an_ordinary_user_what_it_takes(require: Callable[..., None]) -> None:
    require("linux", "root", "setpriv", "cap_bpf", "cap_net_admin")
    _, _, command = how_to_get([BPF], process(ORDINARY_UID)).partition("sudo ")
    words = command.removesuffix(" COMMAND").split()
    done = subprocess.run(
        [*words, sys.executable, "-c", SEEN], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stdout == "['ebpf', 'socket-filter']\n", done.stderr


def test_a_process_knows_where_it_stands(require: Callable[..., None]) -> None:
    require("linux", "cap_bpf", "cap_net_admin")
    here = standing()
    assert here.uid == os.geteuid()
    assert here.held >> BPF & 1
    assert here.last_capability >= BPF
