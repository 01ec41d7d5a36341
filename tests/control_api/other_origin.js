// What a page of another origin attempts against the control at an address; returns what came of each attempt.
(async (control) => {
  const outcomes = [];
  const attempt = async (what, run) => {
    try { outcomes.push([what, await run()]); } catch (error) { outcomes.push([what, error.name]); }
  };
  const linkDown = "/relay/v1/commands/link-down";
  const post = (path, options) => fetch(control + path, { method: "POST", ...options }).then((got) => got.status);
  await attempt("read", () => fetch(control + "/relay/v1/flows").then((got) => got.text()));
  const opaque = { mode: "no-cors" };
  await attempt("read opaquely", () => fetch(control + "/relay/v1/flows", opaque).then((got) => got.text()));
  await attempt("empty post", () => post(linkDown, {}));
  await attempt("opaque post", () => post(linkDown, opaque).then(() => ""));
  await attempt("text", () => post(linkDown, { ...opaque, body: "{}" }).then(() => ""));
  const json = { "Content-Type": "application/json" };
  await attempt("json", () => post(linkDown, { headers: json, body: "{}" }));
  await attempt("header", () => post(linkDown, { headers: { "X-Relay-Control": "1" } }));
  await attempt("delete", () => fetch(control + "/proxies/one", { method: "DELETE" }).then((got) => got.status));
  await attempt("beacon", () => { navigator.sendBeacon(control + linkDown, "{}"); return ""; });
  await attempt("events", () => new Promise((resolve) => {
    const source = new EventSource(control + "/relay/v1/events");
    source.onmessage = (event) => resolve(event.data);
    source.onerror = () => { source.close(); resolve("failed"); };
  }));
  await attempt("script", () => new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = control + "/relay/page/control.js";
    script.onload = () => resolve("it ran");
    script.onerror = () => resolve("failed");
    document.body.append(script);
  }));
  await attempt("frame", () => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.src = control + "/";
    frame.onload = () => resolve(frame.contentDocument ? "readable" : "opaque");
    document.body.append(frame);
  }));
  await attempt("form", () => new Promise((resolve) => {
    const form = document.createElement("form");
    const frame = document.createElement("iframe");
    frame.name = "there";
    document.body.append(frame, form);
    const action = control + linkDown;
    Object.assign(form, { method: "POST", action, target: "there", enctype: "text/plain" });
    frame.onload = () => resolve("");
    form.submit();
  }));
  return outcomes;
})
