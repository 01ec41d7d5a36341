"""`relay probe`: measures what a NAT does, and writes it down as a profile.

The client runs behind the NAT (in a VM, a container, a cloud network), the server outside. Pure are `protocol`,
`findings`, `as_toml` and `compare`.

    probes/     one file each: a method, what it finds, how sure that is; `registry` lists them
    client/     the session at the server, and connections that are looked at from both ends
    server/     does what scripts say on connections that came to it
"""

from relay.probe.as_toml import profile_as_toml
from relay.probe.compare import beyond, compare
from relay.probe.findings import Finding, Findings
from relay.probe.plan import Plan
from relay.probe.registry import PROBES
from relay.probe.run import Course, one_error, run_probes
from relay.probe.server import ProbeServer, open_probe_server

__all__ = [
    "PROBES",
    "Course",
    "Finding",
    "Findings",
    "Plan",
    "ProbeServer",
    "beyond",
    "compare",
    "one_error",
    "open_probe_server",
    "profile_as_toml",
    "run_probes",
]
