"use strict";
// All flows as bars, from their first record to their last, in as many lanes as overlap.

const MOST_LANES = 60;
const LEAST_WIDTH = 2;

class Timeline {
  constructor(canvas, axis, open) {
    this.canvas = canvas;
    this.axis = axis;
    this.bars = [];
    canvas.addEventListener("click", (event) => {
      const bar = this.nearest(event.offsetX, event.offsetY);
      if (bar) open(bar.flow);
    });
    addEventListener("resize", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(flows) {
    const ordered = [...flows].sort((one, other) => one.from - other.from);
    const begin = ordered.length ? ordered[0].from : 0;
    const end = ordered.reduce((latest, flow) => Math.max(latest, flow.to), begin);
    const ends = []; // of each lane's last bar
    this.bars = ordered.map((flow) => {
      let lane = ends.findIndex((until) => until < flow.from);
      if (lane < 0) lane = ends.length < MOST_LANES ? ends.length : ends.indexOf(Math.min(...ends));
      ends[lane] = Math.max(ends[lane] ?? 0, flow.to);
      return { flow, lane };
    });
    [this.begin, this.span, this.lanes] = [begin, Math.max(end - begin, 0.001), Math.max(1, ends.length)];
    const [first, last] = this.axis.children;
    first.textContent = ordered.length ? `${timeOfDay(begin)} UTC` : "";
    last.textContent = ordered.length ? `+${inSeconds(end - begin)} s` : "";
    this.draw();
  }

  draw() {
    const width = this.canvas.clientWidth || 800;
    const lane = Math.max(2, Math.min(12, Math.floor(160 / this.lanes)));
    const height = this.lanes * lane + 6;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    this.canvas.style.height = `${height}px`;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colours = Object.fromEntries(["red", "green", "muted"].map((name) => [name, style.getPropertyValue(`--${name}`)]));
    for (const bar of this.bars) {
      const { flow } = bar;
      bar.x = ((flow.from - this.begin) / this.span) * (width - LEAST_WIDTH);
      bar.width = Math.max(LEAST_WIDTH, ((flow.to - flow.from) / this.span) * (width - LEAST_WIDTH));
      bar.y = 3 + bar.lane * lane;
      bar.height = Math.max(1, lane - 1);
      context.fillStyle = flow.behaviour ? colours.red : flow.cause ? colours.muted : colours.green;
      context.fillRect(bar.x, bar.y, bar.width, bar.height);
    }
  }

  nearest(x, y) {
    let best = null;
    let least = 20;
    for (const bar of this.bars) {
      const dx = Math.max(bar.x - x, 0, x - bar.x - bar.width);
      const dy = Math.max(bar.y - y, 0, y - bar.y - bar.height);
      if (dx + dy < least) [best, least] = [bar, dx + dy];
    }
    return best;
  }
}
