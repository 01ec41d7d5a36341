"use strict";
// A flow's ladder as SVG. A step is [kind, at_s, label, start, end, because, lost]; what is empty at its end is missing.

const LADDER = {
  lines: [80, 410, 740],
  names: ["app", "NAT", "server"],
  width: 800,
  lineHeight: 15,
  cell: 7.3, // a character's width, at most
};

function svg(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function cellsOf(text) {
  let cells = 0;
  for (const character of text) cells += character.codePointAt(0) >= 0x1100 ? 2 : 1;
  return cells;
}

// The text in lines of so many cells; a word that is longer is cut.
function wrappedText(text, most) {
  const lines = [];
  let line = "";
  for (let word of text.split(" ")) {
    while (cellsOf(word) > most) {
      const head = [...word].slice(0, Math.floor(most / 2)).join("");
      lines.push(line ? `${line} ${head}` : head);
      [line, word] = ["", word.slice(head.length)];
    }
    if (line && cellsOf(line) + 1 + cellsOf(word) > most) {
      lines.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line];
}

function drawStep(root, step, y, explain) {
  const [kind, at, label, start = null, end = null, because = "", lost = null] = step;
  const text = because ? `${label}, by ${because}` : label;
  const { lines, lineHeight, cell } = LADDER;
  const group = svg("g", { class: kind });
  const isArrow = start !== null && end !== null;
  const left = isArrow ? lines[Math.min(start, end)] : lines[0];
  const right = isArrow ? lines[Math.max(start, end)] : lines[2];
  const told = wrappedText(text, Math.floor((right - left - 20) / cell));
  const height = told.length * lineHeight + (isArrow ? 12 : 6);

  lines.forEach((x, number) => {
    if (!isArrow && kind !== "gap" && number === 1) return; // a remark runs across the NAT's line
    group.append(svg("line", { class: kind === "gap" ? "life folded" : "life", x1: x, x2: x, y1: y, y2: y + height }));
  });
  const address = because ? explain(because) : "";
  const labels = address ? svg("a", { href: address }) : group;
  if (address) group.append(labels);
  told.forEach((line, number) => {
    const across = isArrow && Math.abs(start - end) > 1 && start > end;
    const place = across ? { x: right - 10, "text-anchor": "end" } : { x: left + 10 };
    labels.append(svg("text", { class: "label", ...place, y: y + 12 + number * lineHeight }, line));
  });
  if (isArrow) group.append(...arrow(lines[start], lines[end], y + told.length * lineHeight + 5, lost));
  if (at !== null && at !== undefined) {
    const timeY = isArrow ? y + told.length * lineHeight + 9 : y + 12;
    group.append(svg("text", { class: "time", x: lines[0] - 8, y: timeY }, at < 10000 ? at.toFixed(3) : at.toFixed(0)));
  }
  root.append(group);
  return y + height;
}

function arrow(from, to, y, lost) {
  const way = Math.sign(to - from);
  if (lost) {
    const x = to - way * 50;
    const cross = `M${x - 5} ${y - 5}l10 10M${x - 5} ${y + 5}l10 -10`;
    return [svg("line", { class: "arrow", x1: from, x2: x, y1: y, y2: y }), svg("path", { class: "arrow", d: cross })];
  }
  return [
    svg("line", { class: "arrow", x1: from, x2: to - way * 6, y1: y, y2: y }),
    svg("path", { class: "point", d: `M${to} ${y}l${-way * 8} -4v8z` }),
  ];
}

// The whole ladder; `outcome` is what it says to those who do not see it, `explain(name)` where a behaviour is explained.
function drawLadder(steps, outcome, explain) {
  const { lines, names, width } = LADDER;
  const root = svg("svg", { width, role: "img", "aria-label": outcome });
  names.forEach((name, number) => root.append(svg("text", { class: "name", x: lines[number], y: 14 }, name)));
  let y = 22;
  for (const step of steps) y = drawStep(root, step, y, explain);
  root.setAttribute("height", y + 6);
  root.setAttribute("viewBox", `0 0 ${width} ${y + 6}`);
  return root;
}
