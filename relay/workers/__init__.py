"""One relay in several processes, for more than one core: `relay serve --workers N`.

    parent     reserves the addresses, serves nothing, has the event log; acts on signals and sends commands to all
    worker k   its own listeners on the same addresses, its own engine, providers and flows k, k + N, k + 2N, ...

The kernel chooses the worker of a connection, by a hash of both addresses and ports: even on the average, uneven for a
handful of connections, and regardless of how busy a worker is. A flow stays where it is. Random draws still follow from
the seed and the flow's number, but which connection gets which number differs from run to run.

A worker that dies takes its flows with it; the kernel closes them. It is replaced, and the others notice nothing, up to
`MAX_DEATHS` times within `DEATHS_WITHIN_S`: beyond that the relay ends with an error. When the parent dies, however it
does, the workers end at once.

Linux alone spreads connections over listeners. Elsewhere SO_REUSEPORT means something else or does not exist, and one
process serves.
"""

from relay.workers.opening import MAX_WORKERS, check_workers, open_workers
from relay.workers.parent import DEATHS_WITHIN_S, MAX_DEATHS, Workers

__all__ = ["DEATHS_WITHIN_S", "MAX_DEATHS", "MAX_WORKERS", "Workers", "check_workers", "open_workers"]
