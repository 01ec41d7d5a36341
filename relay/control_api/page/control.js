"use strict";
// The live page: flows as they come, the ladder of the one that is chosen, commands, the profile's switches.

(() => {
  const MOST_FLOWS = 10000; // the oldest are left out
  const EARLIER = 9999;
  const DRAW_EACH_MS = 200;
  const LOOK_EACH_MS = 2000; // at what other clients have set
  const byId = (id) => document.getElementById(id);
  const flows = new Map();
  const behaviours = new Set();
  const order = { key: "number", downwards: true };
  let chosen = null;
  let waiting = 0;
  let stale = false;
  let expiresAfterS = null; // what has no traffic for so long

  const client = new Client(() => { byId("token-form").hidden = false; });
  const table = new FlowTable(byId("table"), { open, sort, explain: () => "" });

  function take(record) {
    if (record.flow === null) {
      if (chosen && !chosen.ended) stale = true;
      return later();
    }
    const flow = flowOf(record);
    const { event } = record;
    if (event === "flow-opened") flow.destination = printable(record.destination);
    if (event === "flow-ended") {
      Object.assign(flow, { ended: true, cause: printable(record.because), duration: record.duration_s, out: record.bytes_out, in: record.bytes_in });
    } else if (record.carried) [flow.out, flow.in] = record.carried;
    flow.behaviour = behaviours.has(flow.cause);
    flow.row = { flow }; // another object: the table fills it anew
    if (flow === chosen) stale = true;
    later();
  }

  function flowOf(record) {
    let flow = flows.get(record.flow);
    if (!flow) {
      const from = Date.parse(record.at) / 1000;
      flow = { number: record.flow, process: "", destination: "", cause: "", behaviour: false, out: 0, in: 0, duration: null, from };
      flows.set(record.flow, flow);
      if (flows.size > MOST_FLOWS) flows.delete(flows.keys().next().value);
    }
    if (record.process) flow.process = printable(`${record.process.name}[${record.process.pid}]`);
    return flow;
  }

  function later() {
    if (waiting) return;
    waiting = setTimeout(() => {
      waiting = 0;
      requestAnimationFrame(draw);
    }, DRAW_EACH_MS);
  }

  function draw() {
    const words = byId("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (flow) => words.every((word) => `#${flow.number} ${flow.process} ${flow.destination} ${flow.cause || "open"}`.toLowerCase().includes(word));
    const rows = [];
    let open_ = 0;
    for (const flow of flows.values()) {
      if (!flow.ended) open_ += 1;
      if (!words.length || fits(flow)) rows.push(flow.row);
    }
    const way = order.downwards ? -1 : 1;
    rows.sort((one, other) => way * compared(one.flow[order.key], other.flow[order.key]));
    table.show(rows, order.key, order.downwards);
    byId("totals").textContent = `${counted(flows.size, "flow")}, ${open_} open`;
    if (stale && chosen) drawLadderOf(chosen);
    stale = false;
  }

  function compared(one, other) {
    if (one === other) return 0;
    if (one === null || other === null) return one === null ? 1 : -1;
    return one < other ? -1 : 1;
  }

  function sort(key) {
    order.downwards = order.key === key ? !order.downwards : false;
    order.key = key;
    draw();
  }

  function open(flow) {
    chosen = flow;
    byId("detail").hidden = false;
    drawLadderOf(flow);
  }

  async function drawLadderOf(flow) {
    try {
      const told = await client.get(`/relay/v1/flows/${flow.number}`);
      if (flow !== chosen) return;
      byId("detail-title").textContent = `#${told.number} ${told.process} ${told.client} → ${told.destination}, ${told.cause ? `ended by ${told.cause}` : "open"}`;
      byId("ladder").replaceChildren(drawLadder(told.steps, told.cause || "open", () => ""));
    } catch (error) {
      say(error.message, true);
    }
  }

  function say(text, wrong = false) {
    byId("said").textContent = printable(text);
    byId("said").className = wrong ? "wrong" : "";
  }

  async function command(name, fields) {
    await attempt(name, () => client.command(name, fields));
    if (name === "adjust") await describe();
  }

  const request = (method, path, fields) => attempt(`${method} ${decodeURIComponent(path)}`, () => client.request(method, path, fields));

  async function attempt(what, carryOut) {
    try {
      const result = await carryOut();
      say(Array.isArray(result) ? `${what}: ${counted(result.length, "record")}` : `${what}: done`);
      await panels.refresh();
    } catch (error) {
      say(error.message, true);
    }
  }

  const panels = new Panels(client, { forwards: byId("forwards"), faults: byId("faults"), choice: byId("fault-forward"), command, request });
  serveForms(document.querySelector("main"), { command, request });
  setInterval(() => {
    if (!document.hidden) panels.refresh().catch(() => {}); // that the relay is gone is said below
  }, LOOK_EACH_MS);

  async function describe() {
    const told = await client.get("/relay/v1/profile");
    for (const { name } of told.profile.quirks) behaviours.add(name);
    for (const flow of flows.values()) Object.assign(flow, { behaviour: behaviours.has(flow.cause), row: { flow } });
    later();
    panels.refresh().catch((error) => say(error.message, true));
    byId("title").textContent = `${told.profile.name}: ${told.profile.title}`;
    byId("switches").replaceChildren(...told.profile.quirks.map((quirk) => switchOf(quirk.name, told.enabled.includes(quirk.name), told.enable[quirk.name])));
    expiresAfterS = told.expires_after_s;
    byId("expire").hidden = expiresAfterS === null;
    byId("said-of").replaceChildren();
    describeProfiles(byId("said-of"), { profiles: [told.profile], causes: {} }, new Set());
  }

  // A behaviour that is enabled again has the profile's settings.
  function switchOf(name, enabled, enable) {
    const box = element("input", { type: "checkbox", checked: enabled });
    box.dataset.behaviour = name;
    box.addEventListener("change", () => command("adjust", { settings: box.checked ? enable : [`${name}.enabled=false`] }));
    return element("label", {}, box, ` ${name}`);
  }

  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    client.token = byId("token").value;
    byId("token-form").hidden = true;
    describe().catch((error) => say(error.message, true));
  });
  byId("expire").addEventListener("click", () => command("advance", { seconds: expiresAfterS }));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", draw);

  const again = () => {
    flows.clear();
    later();
  };
  describe().catch((error) => say(error.message, true));
  client.follow(EARLIER, again, take, (text) => text && say(text, true));
  draw();
  document.documentElement.dataset.readyMs = Math.round(performance.now());
})();
