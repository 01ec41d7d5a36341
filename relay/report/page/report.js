"use strict";
// Puts the page together: data, filters, the table, the timeline, the ladder of the flow that is open.

(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const flows = [];
  for (const section of data.sections) {
    for (const flow of section.flows) {
      flow.section = section;
      flows.push(flow);
    }
  }
  const state = { key: "number", downwards: false };
  const table = new FlowTable(byId("table"), { open, sort, explain: (flow) => explained(data, flow.section, flow.cause) });
  const timeline = new Timeline(byId("timeline"), byId("axis"), open);

  function describe() {
    const sum = (key) => inBytes(flows.reduce((total, flow) => total + flow[key], 0));
    const behaved = flows.filter((flow) => flow.behaviour).length;
    const one = data.sections.length === 1 ? data.sections[0] : null;
    const parts = [counted(flows.length, "flow"), `${behaved.toLocaleString("en-US")} ended by a behaviour`, `${sum("out")} B out, ${sum("in")} B in`];
    if (one) parts.unshift(...[one.at && `${one.at}`, one.profile && `profile ${one.profile}`, one.seed && `seed ${one.seed}`].filter(Boolean));
    else parts.unshift(counted(data.sections.length, "section"));
    byId("totals").textContent = parts.join("; ");
    const { remarks } = data;
    byId("remarks").append(...remarks.map((remark) => element("li", {}, remark)));
    byId("remarks").hidden = !remarks.length;
  }

  function offerChoices() {
    const counts = new Map();
    for (const flow of flows) counts.set(flow.cause, (counts.get(flow.cause) ?? 0) + 1);
    const ordered = [...counts].sort((one, other) => other[1] - one[1]);
    for (const [cause, count] of ordered) byId("cause").append(new Option(`${cause || "open"} (${count})`, cause || "open"));
    byId("section-choice").hidden = data.sections.length < 2;
    data.sections.forEach((section, number) => byId("section").append(new Option(section.title, number)));
    describeProfiles(byId("profiles"), data, new Set(counts.keys()));
    byId("profiles").hidden = byId("profiles").children.length < 2;
  }

  function filter() {
    const words = byId("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [cause, chosen] = [byId("cause").value, byId("section").value];
    const fits = (flow) => (!cause || (flow.cause || "open") === cause) && words.every((word) => wordsOf(flow).includes(word));
    const rows = [];
    const kept = [];
    const way = state.downwards ? -1 : 1;
    data.sections.forEach((section, number) => {
      if (chosen && Number(chosen) !== number) return;
      const found = section.flows.filter(fits).sort((one, other) => way * compared(one[state.key], other[state.key]));
      if (data.sections.length > 1 && (found.length || (!words.length && !cause))) rows.push({ section });
      for (const flow of found) {
        flow.row ??= { flow };
        rows.push(flow.row);
        kept.push(flow);
      }
    });
    table.show(rows, state.key, state.downwards);
    timeline.show(kept);
    byId("shown").textContent = kept.length === flows.length ? "" : `${kept.length} of ${flows.length}`;
  }

  function wordsOf(flow) {
    const { number, process, client, destination, address, via, cause, section } = flow;
    flow.words ??= [`#${number}`, process, client, destination, address, via, cause || "open", section.title].join(" ").toLowerCase();
    return flow.words;
  }

  function compared(one, other) {
    if (one === other) return 0;
    if (one === null || other === null) return one === null ? 1 : -1; // open flows last
    return typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other;
  }

  function sort(key) {
    state.downwards = state.key === key ? !state.downwards : false;
    state.key = key;
    filter();
  }

  function open(flow) {
    const address = flow.address && flow.address !== flow.destination ? ` (${flow.address})` : "";
    byId("detail-title").textContent = `#${flow.number} ${flow.process} ${flow.client} → ${flow.destination || "no destination"}${address}${flow.via ? `, via ${flow.via}` : ""}`;
    const explain = (name) => explained(data, flow.section, name);
    const where = explain(flow.cause);
    const cause = where ? element("a", { href: where }, flow.cause) : flow.cause;
    const rest = `${inBytes(flow.out)} B out, ${inBytes(flow.in)} B in${flow.duration === null ? "" : `, ${inSeconds(flow.duration)} s`}`;
    byId("detail-outcome").replaceChildren(...(flow.cause ? ["ended by ", cause] : ["open"]), `; ${rest}`);
    byId("ladder").replaceChildren(drawLadder(flow.steps, flow.cause ? `ended by ${flow.cause}` : "open", explain));
    byId("detail").hidden = false;
    byId("detail").scrollIntoView({ block: "nearest" });
  }

  function close() {
    byId("detail").hidden = true;
    byId("table").focus({ preventScroll: true });
  }

  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", filter);
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) {
      byId("words").focus();
      event.preventDefault();
    } else if (event.key === "Escape") close();
  });

  describe();
  offerChoices();
  filter();
  if (flows.length === 1) open(flows[0]);
  requestAnimationFrame(() => {
    document.documentElement.dataset.readyMs = Math.round(performance.now());
  });
})();
