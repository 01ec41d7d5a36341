"use strict";
// The table of flows. Of any number of rows only those in sight are there: an element each, reused as one scrolls.

const ROW_HEIGHT = 28;
const ROWS_AROUND = 8; // beyond what is in sight
const MOST_PRINTED = 5000;

const COLUMNS = [
  { key: "number", title: "#", numeric: true, text: (flow) => String(flow.number) },
  { key: "process", title: "process", text: (flow) => flow.process },
  { key: "destination", title: "destination", text: (flow) => flow.destination },
  { key: "cause", title: "ended by", text: (flow) => flow.cause || "open" },
  { key: "out", title: "bytes out", numeric: true, text: (flow) => inBytes(flow.out) },
  { key: "in", title: "bytes in", numeric: true, text: (flow) => inBytes(flow.in) },
  { key: "duration", title: "seconds", numeric: true, text: (flow) => inSeconds(flow.duration) },
  { key: "from", title: "began", numeric: true, text: (flow) => timeOfDay(flow.from) },
];

class FlowTable {
  // `open(flow)` is called for the flow that is chosen, `sort(key)` for a column's title, `explain(flow)` gives an address.
  constructor(root, { open, sort, explain }) {
    this.root = root;
    this.open = open;
    this.explain = explain;
    this.rows = [];
    this.current = -1;
    this.pool = [];
    this.head = element("div", { className: "head", role: "row" });
    this.titles = new Map();
    for (const column of COLUMNS) {
      const button = element("button", { type: "button", className: column.numeric ? "number" : "" }, column.title);
      button.addEventListener("click", () => sort(column.key));
      const cell = element("div", { role: "columnheader", "aria-sort": "none" }, button);
      this.titles.set(column.key, { cell, button, title: column.title });
      this.head.append(cell);
    }
    this.spacer = element("div", { role: "presentation" });
    this.body = element("div", { className: "body", role: "rowgroup" }, this.spacer);
    root.append(this.head, this.body);
    this.body.addEventListener("scroll", () => this.later(), { passive: true });
    this.body.addEventListener("click", (event) => this.onClick(event));
    root.addEventListener("keydown", (event) => this.onKey(event));
    addEventListener("resize", () => this.later());
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
  }

  // Each row is {flow} or {section}, in the order in which they are shown.
  show(rows, sorted, downwards) {
    const chosen = this.rows[this.current]?.flow;
    this.rows = rows;
    this.current = chosen ? rows.findIndex((row) => row.flow === chosen) : -1;
    this.root.setAttribute("aria-rowcount", rows.length + 1);
    this.spacer.style.height = `${rows.length * ROW_HEIGHT}px`;
    for (const [key, { cell, button, title }] of this.titles) {
      cell.setAttribute("aria-sort", key !== sorted ? "none" : downwards ? "descending" : "ascending");
      button.textContent = key !== sorted ? title : `${title} ${downwards ? "↓" : "↑"}`;
    }
    this.draw();
  }

  later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  draw() {
    const height = this.body.clientHeight || 600;
    const first = Math.max(0, Math.floor(this.body.scrollTop / ROW_HEIGHT) - ROWS_AROUND);
    const last = Math.min(this.rows.length, first + Math.ceil(height / ROW_HEIGHT) + 2 * ROWS_AROUND);
    this.place(first, last);
  }

  place(first, last) {
    while (this.pool.length < last - first) {
      const made = element("div", { className: "row", role: "row" });
      this.pool.push(made);
      this.body.append(made);
    }
    const count = this.pool.length;
    for (let index = first; index < first + count; index += 1) {
      const made = this.pool[index % count]; // a row that stays in sight keeps its element
      made.hidden = index >= last;
      made.style.display = made.hidden ? "none" : "";
      if (!made.hidden) this.fill(made, index);
    }
  }

  fill(made, index) {
    made.style.top = `${index * ROW_HEIGHT}px`;
    const row = this.rows[index];
    made.setAttribute("aria-selected", String(index === this.current));
    if (made.shown === row && made.index === index) return;
    made.shown = row;
    made.index = index;
    made.setAttribute("aria-rowindex", index + 2);
    made.id = `row-${index}`;
    made.className = row.flow ? "row" : "row section";
    if (!row.flow) {
      made.cells = null;
      made.replaceChildren(sectionTitle(row.section));
      return;
    }
    if (!made.cells) {
      made.cells = COLUMNS.map((column) => this.cell(column));
      made.replaceChildren(...made.cells);
    }
    COLUMNS.forEach((column, place) => this.fillCell(made.cells[place], column, row.flow));
  }

  cell(column) {
    const made = element("div", { role: "gridcell", className: column.numeric ? "number" : "" });
    if (column.key === "cause") made.append(element("a", { tabIndex: -1 }));
    return made;
  }

  fillCell(made, column, flow) {
    const text = column.text(flow);
    if (column.key === "cause") {
      const address = this.explain(flow);
      made.className = flow.behaviour ? "by-behaviour" : "";
      made.firstChild.textContent = text;
      if (address) made.firstChild.href = address;
      else made.firstChild.removeAttribute("href");
    } else made.textContent = text;
    made.title = text.length > 18 ? text : "";
  }

  choose(index, { scroll = true } = {}) {
    this.current = index;
    if (scroll && index >= 0) {
      const top = index * ROW_HEIGHT;
      const { scrollTop, clientHeight } = this.body;
      if (top < scrollTop) this.body.scrollTop = top;
      else if (top + ROW_HEIGHT > scrollTop + clientHeight) this.body.scrollTop = top + ROW_HEIGHT - clientHeight;
    }
    this.draw();
    const shown = this.pool.find((made) => !made.hidden && made.shown === this.rows[index]);
    if (shown) this.root.setAttribute("aria-activedescendant", shown.id);
  }

  onClick(event) {
    if (event.target.closest("a[href]")) return;
    const made = event.target.closest(".row");
    if (!made?.shown?.flow) return;
    this.choose(this.rows.indexOf(made.shown), { scroll: false });
    this.open(made.shown.flow);
  }

  onKey(event) {
    if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.body.clientHeight / ROW_HEIGHT) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      this.move(moves[event.key]);
    } else if (event.key === "Enter" || event.key === " ") {
      const flow = this.rows[this.current]?.flow;
      if (flow) this.open(flow);
    } else return;
    event.preventDefault();
  }

  move(by) {
    const last = this.rows.length - 1;
    if (last < 0) return;
    const way = by < 0 ? -1 : 1;
    let index = Math.min(last, Math.max(0, this.current + by));
    while (this.rows[index] && !this.rows[index].flow) index += way; // past the head of a section
    if (this.rows[index]) this.choose(index);
  }

  print(on) {
    this.root.classList.toggle("printing", on);
    if (on) this.place(0, Math.min(this.rows.length, MOST_PRINTED));
    this.spacer.style.height = on ? "0" : `${this.rows.length * ROW_HEIGHT}px`;
    if (!on) {
      for (const made of this.pool.splice(200)) made.remove();
      this.draw();
    }
  }
}

function sectionTitle(section) {
  const parts = [section.outcome, section.profile && `${section.profile}${section.seed ? `, seed ${section.seed}` : ""}`, counted(section.flows.length, "flow")];
  const rest = element("span", { className: "muted" }, `  ${parts.filter(Boolean).join("; ")}`);
  return element("div", { role: "gridcell", className: section.outcome === "failed" ? "failed" : "" }, section.title, rest);
}
