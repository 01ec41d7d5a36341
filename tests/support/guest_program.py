"""Run a command in a network of its own: `python -m support.guest_program [OPTION...] -- COMMAND...`.

Options: `map-root`, `offload`, `tun`, `pair`, and `after-another`: while another command has its network. The exit
status is the command's, or that of the error.
"""

from __future__ import annotations

import signal
import sys

import anyio

from relay.errors import RelayError
from relay.wire.addresses import addresses_in
from relay.wire.namespace.opening import KINDS, open_namespace


async def main(options: set[str], command: list[str]) -> int:
    addresses = addresses_in("192.168.27.0/24")
    if "after-another" in options:
        other = await open_namespace(["true"], addresses)
        options = options - {"after-another"}
        try:
            return await main(options, command)
        finally:
            other.close()
    namespace = await open_namespace(
        command,
        addresses,
        map_root="map-root" in options,
        offload="offload" in options,
        kinds=[kind for kind in KINDS if kind in options] or KINDS,
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command gets it, too
    try:
        namespace.start()
        return await namespace.wait()
    finally:
        namespace.close()


if __name__ == "__main__":
    at = sys.argv.index("--")
    try:
        sys.exit(anyio.run(main, set(sys.argv[1:at]), sys.argv[at + 1 :]))
    except RelayError as error:
        sys.stderr.write(f"relay: {error}\nhint: {error.hint}\n")
        sys.exit(error.exit_code)
