"use strict";
const replay = JSON.parse(document.getElementById("replay").textContent);
const NS = "http://www.w3.org/2000/svg";
const day = (text) => Date.parse(text.length === 7 ? text + "-01" : text);
const percent = (value) => (100 * value).toFixed(1) + " %";
const show = (value) => (replay.problem === "classification" ? percent(value) : value.toPrecision(4));

function draw(parent, name, attributes, tip) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (attributes.text !== undefined) { node.textContent = attributes.text; node.removeAttribute("text"); }
  if (tip) node.dataset.tip = tip;
  parent.append(node);
  return node;
}

function tips(box) {
  const tip = document.createElement("div");
  tip.className = "tip";
  box.append(tip);
  const move = (event) => {
    const found = event.target.closest("[data-tip]");
    tip.style.opacity = found ? 1 : 0;
    if (!found) return;
    tip.textContent = found.dataset.tip;
    const frame = box.getBoundingClientRect();
    const x = Math.min(event.clientX - frame.left + 12, frame.width - tip.offsetWidth - 6);
    tip.style.left = Math.max(4, x) + "px";
    tip.style.top = event.clientY - frame.top + 16 + "px";
  };
  box.addEventListener("pointermove", move);
  box.addEventListener("pointerdown", move);
  box.addEventListener("pointerleave", () => { tip.style.opacity = 0; });
}

function trailing(key, rows) {
  const out = [];
  let from = 0, n = 0, sum = 0;
  replay.periods.forEach((period, index) => {
    if (period.n === 0) return;
    n += period.n; sum += period.n * period[key];
    while (n - replay.periods[from].n >= rows && from < index) {
      n -= replay.periods[from].n; sum -= replay.periods[from].n * (replay.periods[from][key] || 0); from += 1;
    }
    out.push([day(period.end), sum / n]);
  });
  return out;
}

function timeline(box) {
  box.replaceChildren();
  const width = Math.max(320, box.clientWidth - 10), narrow = width < 640;
  const left = narrow ? 40 : 116, right = width - 20;
  const start = day(replay.since), end = day(replay.until);
  const x = (time) => left + ((time - start) / (end - start)) * (right - left);
  const features = [...new Set(replay.monitoring.flatMap((m) => m.drift.map((d) => d.feature)))];
  const lanes = replay.lanes;
  const quality = { top: 26, height: narrow ? 190 : 270 };
  const versions = { top: quality.top + quality.height + 34, height: 26 };
  const note = narrow ? 14 : 0; // a line more for what stands beside the lane or in its heading where there is room
  const traffic = { top: versions.top + versions.height + 24 + note, height: 44 };
  const drift = { top: traffic.top + traffic.height + 30 + note, row: 15 };
  const events = { top: drift.top + features.length * drift.row + 30, row: 22 };
  const height = events.top + lanes.length * events.row + 26;
  const svg = draw(box, "svg", { viewBox: `0 0 ${width} ${height}`, width, height });
  const title = (text, y) => draw(svg, "text", { x: narrow ? 4 : left, y, class: "title", text });
  const side = (text, y) => { if (!narrow) draw(svg, "text", { x: left - 8, y, "text-anchor": "end", text }); };

  axis(svg, x, start, end, height, quality.top, narrow);
  const values = replay.periods.filter((p) => p.n >= 20).flatMap((p) => [p.loop, p.frozen]);
  const low = replay.problem === "classification" ? Math.max(0, Math.floor(10 * Math.min(...values, 0.9)) / 10) : 0;
  const high = replay.problem === "classification" ? 1 : Math.max(...values);
  const y = (value) => quality.top + quality.height * (1 - (Math.max(low, value) - low) / (high - low));
  title(replay.metric, quality.top - 10);
  const gaps = replay.problem === "classification" ? Math.max(2, Math.round((high - low) * (narrow ? 5 : 10))) : 4;
  for (let i = 0; i <= gaps; i += 1) {
    const value = low + ((high - low) * i) / gaps;
    draw(svg, "line", { x1: left, x2: right, y1: y(value), y2: y(value), stroke: "var(--line)" });
    draw(svg, "text", { x: left - 6, y: y(value) + 4, "text-anchor": "end", text: replay.problem === "classification" ? Math.round(100 * value) + "%" : value.toPrecision(2) });
  }
  if (replay.promise !== null) draw(svg, "line", { x1: left, x2: right, y1: y(replay.promise), y2: y(replay.promise), stroke: "var(--promise)", "stroke-dasharray": "6 4", "stroke-width": 1.5 }, `promised ${replay.metric}: ${show(replay.promise)}`);
  for (const key of ["frozen", "loop"]) {
    for (const period of replay.periods) if (period.n >= 10) draw(svg, "circle", { cx: x((day(period.start) + day(period.end)) / 2), cy: y(period[key]), r: narrow ? 1.5 : 2.2, fill: `var(--${key})`, opacity: 0.35 }, `${period.start} to ${period.end}: ${period.n} predictions\nloop ${show(period.loop)}, frozen ${show(period.frozen)}`);
    const points = trailing(key, replay.trailing).map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    draw(svg, "polyline", { points, fill: "none", stroke: `var(--${key})`, "stroke-width": key === "loop" ? 3 : 2.4, "stroke-linejoin": "round" });
  }

  title("version in service", versions.top - 7);
  let span = null;
  const spans = [];
  for (const period of replay.periods) {
    if (!span || span.version !== period.champion) { span = { version: period.champion, start: period.start }; spans.push(span); }
    span.end = period.end;
  }
  spans.forEach((part, index) => {
    const from = x(day(part.start)), to = x(day(part.end));
    draw(svg, "rect", { x: from, y: versions.top, width: Math.max(1, to - from - 1), height: versions.height, rx: 4, fill: "var(--loop)", opacity: index % 2 ? 0.32 : 0.18 }, `version ${part.version}\n${part.start} to ${part.end}`);
    if (to - from > 22) draw(svg, "text", { x: (from + to) / 2, y: versions.top + 17, "text-anchor": "middle", class: "title", text: "v" + part.version });
  });

  title("traffic of the candidate", traffic.top - 7 - note);
  if (narrow) draw(svg, "text", { x: 4, y: traffic.top - 7, text: "shaded: mirrored, solid: served" });
  draw(svg, "line", { x1: left, x2: right, y1: traffic.top + traffic.height, y2: traffic.top + traffic.height, stroke: "var(--line)" });
  for (const period of replay.periods) {
    if (!period.candidate) continue;
    const from = x(day(period.start)), w = Math.max(1, x(day(period.end)) - from);
    const tall = (traffic.height * period.candidate_percent) / 100;
    const text = `candidate v${period.candidate}: ${period.candidate_percent} % of traffic, ${period.mirror_percent} % mirrored\n${period.start} to ${period.end}`;
    if (period.mirror_percent) draw(svg, "rect", { x: from, y: traffic.top, width: w, height: traffic.height, fill: "var(--retrain)", opacity: 0.13 }, text);
    if (tall) draw(svg, "rect", { x: from, y: traffic.top + traffic.height - tall, width: w, height: tall, fill: "var(--retrain)", opacity: 0.75 }, text);
  }
  side("shaded: mirrored", traffic.top + 14); side("solid: served", traffic.top + 28);

  title(narrow ? "drift by feature" : "drift by feature (darker: further over its threshold)", drift.top - 8 - note);
  if (narrow) draw(svg, "text", { x: 4, y: drift.top - 8, text: "darker: further over its threshold" });
  const lasting = replay.monitoring.map((m, i) => [m, i + 1 < replay.monitoring.length ? day(replay.monitoring[i + 1].time) : end]);
  features.forEach((feature, row) => {
    const top = drift.top + row * drift.row;
    side(feature, top + 11);
    lasting.forEach(([monitoring, until]) => {
      const found = monitoring.drift.find((d) => d.feature === feature);
      if (!found || found.statistic === null) return;
      const ratio = found.threshold ? found.statistic / found.threshold : 0;
      const from = x(Math.max(start, day(monitoring.since || monitoring.time)));
      draw(svg, "rect", { x: from, y: top, width: Math.max(1, x(day(monitoring.time)) - from - 0.6), height: drift.row - 2, fill: found.drifted ? "var(--frozen)" : "var(--soft)", opacity: found.drifted ? Math.min(1, 0.35 + 0.2 * ratio) : 0.06 + 0.2 * Math.min(1, ratio) },
        `${feature}, ${monitoring.time.slice(0, 10)}\nstatistic ${found.statistic.toFixed(3)}, threshold ${found.threshold === null ? "–" : found.threshold.toFixed(3)}${found.drifted ? "\nDRIFTED" : ""}`);
    });
    if (narrow) draw(svg, "text", { x: left + 2, y: top + 10, text: feature });
  });

  title("decisions", events.top - 8);
  lanes.forEach((lane, row) => {
    const middle = events.top + row * events.row + 9;
    draw(svg, "line", { x1: left, x2: right, y1: middle, y2: middle, stroke: "var(--line)" });
    if (narrow) draw(svg, "text", { x: 2, y: middle + 3, text: lane.short }); else side(lane.name, middle + 4);
    for (const event of replay.decisions.filter((d) => lane.kinds.includes(d.kind))) {
      const cx = x(day(event.time.slice(0, 10)));
      draw(svg, "circle", { cx, cy: middle, r: narrow ? 4 : 5.5, fill: `var(--${lane.tone})`, stroke: "var(--card)", "stroke-width": 1.5 }, `${event.time.slice(0, 10)} ${event.kind}\n${event.sentence}`);
    }
  });
  for (const promoted of replay.decisions.filter((d) => d.kind === "promote" && day(d.time.slice(0, 10)) > start)) {
    const at = x(day(promoted.time.slice(0, 10)));
    draw(svg, "line", { x1: at, x2: at, y1: quality.top, y2: quality.top + quality.height, stroke: "var(--good)", "stroke-dasharray": "2 3" }, promoted.sentence);
  }
  if (replay.mark) {
    const at = x(day(replay.mark.time));
    draw(svg, "line", { x1: at, x2: at, y1: quality.top - 4, y2: height - 22, stroke: "var(--bad)", "stroke-width": 1.5 }, replay.mark.text);
    draw(svg, "text", { x: at - 6, y: quality.top + quality.height - 8, "text-anchor": "end", text: replay.mark.text, style: "fill: var(--bad); font-style: italic" });
  }
  tips(box);
}

function axis(svg, x, start, end, height, top, narrow) {
  for (const [time, text] of ticks(start, end, narrow ? 5 : 12, narrow ? 6 : 18)) {
    const at = x(time);
    if (time < start || time > end) continue;
    draw(svg, "line", { x1: at, x2: at, y1: top, y2: height - 20, stroke: "var(--line)", opacity: 0.7 });
    if (text) draw(svg, "text", { x: text.length > 4 ? Math.min(at, x(end) - 4) : at, y: height - 6, "text-anchor": "middle", text });
  }
}

// [time, label or ""]: years, or months and days where those would be too few
function ticks(start, end, most, mostYears) {
  const from = new Date(start), first = from.getUTCFullYear(), last = new Date(end).getUTCFullYear(), days = (end - start) / 864e5;
  if (days > 3 * 365) {
    const step = Math.max(1, Math.ceil((last - first) / mostYears));
    return Array.from({ length: last - first + 1 }, (_, n) => [Date.UTC(first + n, 0, 1), n % step ? "" : String(first + n)]);
  }
  if (days > 62) {
    const step = [1, 2, 3, 6].find((months) => days / 30.4 / months <= most) || 12;
    const month = from.getUTCMonth();
    return Array.from({ length: Math.ceil(days / 28) + 1 }, (_, n) => Date.UTC(first, month + n, 1))
      .map((time) => [time, new Date(time).getUTCMonth() % step ? "" : new Date(time).toISOString().slice(0, 7)]);
  }
  const step = Math.max(1, Math.ceil(days / most));
  return Array.from({ length: Math.floor(days / step) + 1 }, (_, n) => start + n * step * 864e5)
    .map((time) => [time, new Date(time).toISOString().slice(5, 10)]);
}

function matrix(box, caption, labels, counts) {
  const figure = document.createElement("figure");
  const heading = document.createElement("figcaption");
  heading.textContent = caption;
  figure.append(heading);
  box.append(figure);
  const margin = 104, cell = 34, size = labels.length * cell;
  const svg = draw(figure, "svg", { viewBox: `0 0 ${margin + size + 4} ${size + 92}` });
  labels.forEach((truth, row) => {
    const total = counts[row].reduce((a, b) => a + b, 0);
    draw(svg, "text", { x: margin - 6, y: row * cell + 21, "text-anchor": "end", text: truth.length > 16 ? truth.slice(0, 15) + "…" : truth });
    labels.forEach((guess, column) => {
      const count = counts[row][column], share = total ? count / total : 0;
      draw(svg, "rect", { x: margin + column * cell, y: row * cell, width: cell - 2, height: cell - 2, rx: 3, fill: row === column ? "var(--loop)" : "var(--frozen)", opacity: total ? 0.05 + 0.95 * share : 0.02 },
        `${truth} taken for ${guess}\n${count} of ${total} (${percent(share)})`);
      if (share >= 0.095) draw(svg, "text", { x: margin + column * cell + 16, y: row * cell + 20, "text-anchor": "middle", text: Math.round(100 * share), style: share > 0.5 ? "fill: #fff; pointer-events: none" : "pointer-events: none" });
    });
  });
  labels.forEach((guess, column) => draw(svg, "text", { transform: `translate(${margin + column * cell + cell / 2 + 4} ${size + 12}) rotate(-50)`, "text-anchor": "end", text: guess.length > 14 ? guess.slice(0, 13) + "…" : guess }));
  tips(figure);
}

const box = document.getElementById("timeline");
timeline(box);
let drawn = box.clientWidth;
addEventListener("resize", () => { if (box.clientWidth !== drawn) { drawn = box.clientWidth; timeline(box); } });
const matrices = document.getElementById("confusion");
if (matrices) for (const part of replay.confusion.parts) matrix(matrices, part.caption, replay.confusion.labels, part.counts);
