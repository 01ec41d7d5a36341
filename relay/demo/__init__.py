"""`relay demo`: what VMware's NAT does to an app, beside what a plain one does.

Everything runs on loopback and in this process: two relays, and for each story an app and a server. `stories` has the
plots and what must come out, `play` performs each through both relays at once, `show` puts it on the screen, and `run`
has them all played and judges what came out.
"""

from relay.demo.run import run_demo
from relay.demo.show import JSON_KEYS

__all__ = ["JSON_KEYS", "run_demo"]
