"""`relay run` by an ordinary user: the same programs, with /dev/net/tun open to all or closed."""

from __future__ import annotations

import sys

import pytest

from support.behind_nat import BACKENDS, HOST
from support.capabilities import need_program
from support.guests import with_open_tun
from support.origins import Origin
from support.programs import RELAY, as_ordinary_user, clean_environment, run
from support.web import web

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("device", ["tun", "pair"])
def test_curl_carries_a_megabyte_there_and_back(backend: str, offload: str, device: str) -> None:
    content = "a line of some length, many times over\n" * 30_000
    with Origin(web()) as origin:
        fetch = f"id -u; curl -sS --data-binary @- http://{HOST}:{origin.port}/"
        command = [*as_ordinary_user(), *RELAY, "run", "--backend", backend, "--offload", offload, "--"]
        command += ["sh", "-c", fetch]
        done = run(*(with_open_tun(command) if device == "tun" else command), input_=content)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "65534\n" + content


def test_the_error_on_a_host_that_forbids_it_names_the_switch() -> None:
    """Here a limit of a user namespace of the test's own, and a relay that cannot do without."""
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    without = (need_program("setpriv"), "--inh-caps=-all", "--bounding-set=-all")
    outer = (need_program("unshare"), "--user", "--map-root-user", "sh", "-c", limit, "sh", *without)
    done = run(*outer, *RELAY, "run", "--", "true", env=clean_environment())
    assert done.returncode == 3
    message, hint = done.stderr.splitlines()
    assert message == "relay: no more namespaces are allowed here, by user.max_user_namespaces"
    assert hint.startswith("hint: raise user.max_user_namespaces with sudo sysctl, or use what needs none: ")
