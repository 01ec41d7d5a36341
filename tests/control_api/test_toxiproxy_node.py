"""Toxiproxy's Node client, unmodified.

npm install --prefix DIR toxiproxy-node-client; RELAY_NODE_MODULES=DIR/node_modules RELAY_SOAK=1 pytest -m soak
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support.capabilities import missing, need_program
from support.control_client import Client
from support.origins import Origin, echo

pytestmark = [pytest.mark.system, pytest.mark.soak]

_SCRIPT = """
const { Toxiproxy } = require("toxiproxy-node-client");
(async () => {
  const [url, upstream] = process.argv.slice(2);
  const toxiproxy = new Toxiproxy(url);
  const said = { version: await toxiproxy.getVersion() };
  const proxy = await toxiproxy.createProxy({ name: "one", upstream, listen: "127.0.0.1:0" });
  const toxic = await proxy.addToxic({ name: "slow", type: "latency", stream: "downstream", toxicity: 1,
                                       attributes: { latency: 100, jitter: 0 } });
  said.latency = toxic.attributes.latency;
  await toxic.update({ ...toxic.toJson(), attributes: { latency: 200 } });
  said.changed = (await proxy.getToxic("slow")).attributes;
  await toxic.remove();
  await proxy.update({ enabled: false, listen: proxy.listen, upstream });
  said.enabled = (await toxiproxy.get("one")).enabled;
  await toxiproxy.reset();
  said.after_reset = (await toxiproxy.get("one")).enabled;
  await toxiproxy.populate([{ name: "two", upstream, listen: "127.0.0.1:0" }]);
  said.proxies = Object.keys(await toxiproxy.getAll());
  await proxy.remove();
  try { await toxiproxy.get("one"); } catch (error) { said.gone = String(error.message || error); }
  console.log(JSON.stringify(said));
})().catch((error) => { console.error(error); process.exit(1); });
"""


def test_the_node_client(client: Client, tmp_path: Path) -> None:
    modules = os.environ.get("RELAY_NODE_MODULES", "")
    node = need_program("node")
    if not modules:
        missing("RELAY_NODE_MODULES, a folder with toxiproxy-node-client")
    script = tmp_path / "script.cjs"
    script.write_text(_SCRIPT)
    with Origin(echo) as origin:
        done = subprocess.run(
            [node, str(script), client.url, origin.target],
            env={**os.environ, "NODE_PATH": modules},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["latency"] == 100
    assert said["changed"] == {"latency": 200, "jitter": 0}
    assert (said["enabled"], said["after_reset"]) == (False, True)
    assert set(said["proxies"]) == {"one", "two"}
    assert "gone" in said
