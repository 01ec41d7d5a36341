"use strict";
// What is set now: forwards, proxies and their toxics, and faults, each with the buttons that take it away.

class Panels {
  // `command(name, fields)` and `request(method, path, fields)` carry out what a button stands for.
  constructor(client, { forwards, faults, choice, command, request }) {
    Object.assign(this, { client, forwards, faults, choice, command, request });
    this.shown = "";
  }

  async refresh() {
    const [relay, proxies, faults] = await Promise.all([
      this.client.get("/relay/v1"),
      this.client.get("/proxies"),
      this.client.command("list-faults", {}),
    ]);
    const found = JSON.stringify([relay.inbound, proxies, faults]);
    if (found === this.shown) return; // a button that is about to be pressed stays where it is
    this.shown = found;
    const listed = Object.values(proxies);
    this.forwards.replaceChildren(...listed.map((proxy) => this.proxy(proxy)), ...relay.inbound.map((listen) => this.inbound(listen)));
    this.faults.replaceChildren(...faults.map((fault) => this.fault(fault)));
    this.offer(listed.filter((proxy) => proxy.enabled).map((proxy) => proxy.listen));
  }

  proxy({ name, listen, upstream, enabled, toxics }) {
    const path = `/proxies/${encodeURIComponent(name)}`;
    const title = name === listen ? listen : `${name}: ${listen}`;
    const state = enabled ? "" : ", disabled";
    return element(
      "li",
      {},
      `${printable(title)} → ${printable(upstream)}${state} `,
      button(enabled ? "disable" : "enable", title, () => this.request("POST", path, { enabled: !enabled })),
      button("delete", title, () => this.request("DELETE", path, {})),
      ...toxics.map((toxic) => this.toxic(path, toxic)),
    );
  }

  toxic(path, { name, attributes, toxicity }) {
    const told = Object.entries(attributes).map(([key, value]) => `${key} ${value}`);
    if (toxicity < 1) told.push(`toxicity ${toxicity}`);
    const remove = () => this.request("DELETE", `${path}/toxics/${encodeURIComponent(name)}`, {});
    return element("span", { className: "toxic" }, `${printable(name)} (${told.join(", ")}) `, button("remove", name, remove));
  }

  inbound(listen) {
    return element("li", {}, `${listen} → the app `, button("close", listen, () => this.command("close-forward", { listen })));
  }

  fault({ name, side, forward, ...rest }) {
    const told = Object.entries(rest).map(([key, value]) => `${key} ${value}`);
    const toward = side === "internal" ? "app" : "server";
    const text = `${printable(name)}: ${told.join(", ") || "nothing"}, toward the ${toward}, of ${forward ?? "all flows"} `;
    const lift = () => this.command("lift-fault", forward ? { name, forward } : { name });
    return element("li", {}, text, button("lift", name, lift));
  }

  // The forwards that a fault can be of.
  offer(listens) {
    const chosen = this.choice.value;
    const options = ["", ...listens].map((listen) => element("option", { value: listen }, listen || "all flows"));
    this.choice.replaceChildren(...options);
    if (listens.includes(chosen)) this.choice.value = chosen;
  }
}

function button(text, of, onClick) {
  const made = element("button", { type: "button", "aria-label": `${text} ${printable(of)}` }, text);
  made.addEventListener("click", onClick);
  return made;
}
