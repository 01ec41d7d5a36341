"use strict";
// What the page asks of the relay: one request for each command, and the event log as it is written.

const WAIT_MS = 1000; // before the log is asked for again

// Text of a peer's making, with what a line does not show, or what turns its order, written out.
const printable = (text) => String(text ?? "").replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (found) => `\\u{${found.codePointAt(0).toString(16)}}`);

class Client {
  constructor(denied) {
    this.denied = denied; // called when a token is needed
    this.token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  }

  async ask(path, options = {}) {
    const headers = { ...options.headers };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const response = await fetch(path, { ...options, headers });
    if (response.status === 401) this.denied();
    return response;
  }

  async get(path) {
    const response = await this.ask(path);
    const told = await response.json();
    if (!response.ok) throw new Error(told.error);
    return told;
  }

  async command(name, fields) {
    return (await this.request("POST", `/relay/v1/commands/${name}`, fields)).result;
  }

  async request(method, path, fields) {
    const headers = { "Content-Type": "application/json" };
    const response = await this.ask(path, { method, headers, body: JSON.stringify(fields) });
    const told = response.status === 204 ? {} : await response.json();
    if (!response.ok) throw new Error(told.hint ? `${told.error} (${told.hint})` : told.error);
    return told;
  }

  // Calls `took(record)` for each record, `again()` before the first, also after the log was lost and is asked for anew.
  async follow(earlier, again, took, state) {
    for (;;) {
      try {
        const response = await this.ask(`/relay/v1/events?earlier=${earlier}`);
        if (response.ok) {
          again();
          state("");
          await this.read(response.body.getReader(), took);
        }
      } catch (error) {
        // the relay is gone, or has dropped this page: it is asked again
      }
      state("the relay does not answer");
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    }
  }

  async read(reader, took) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: ")) took(JSON.parse(line.slice(6)));
    }
  }
}
