"""Run a command in a network of its own: `python -m support.guest_program [OPTION...] -- COMMAND...`.

Options: `map-root`, `offload`, `tun`, `pair`. Its exit status is the command's, or that of the error.
"""

from __future__ import annotations

import signal
import sys

import anyio

from relay.errors import RelayError
from relay.wire.addresses import addresses_in
from relay.wire.namespace.opening import KINDS, open_namespace


async def main(options: set[str], command: list[str]) -> int:
    namespace = await open_namespace(
        command,
        addresses_in("192.168.27.0/24"),
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
