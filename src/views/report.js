// Script of a report: sorting and filtering of its tables, Pareto front, parallel coordinates, and curves. Text from records is only ever
// inserted as text, never as HTML.
"use strict";

const {ids, labels, groups, axes, charts, steps, scores, front} = JSON.parse(document.getElementById("data").textContent);
const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const SVG = find("svg").namespaceURI;

/** Append an SVG element. */
function add(parent, name, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return parent.appendChild(element);
}

/** Format a number to four significant digits, as the tables of this project. */
const figure = value => Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// What is selected

const rows = new Map(all("#runs tbody tr").map(row => [Number(row.dataset.row), row]));
const words = new Map([...rows].map(([run, row]) => [run, row.textContent.toLowerCase()]));
const hasCurves = new Set(charts.flatMap(chart => chart.lines.map(line => line.group)));
const ranges = new Map();  // axis -> lowest and highest position, from 0 to 1
const hidden = new Set();  // configurations
const colors = new Map();  // configuration -> number of its color
let order = [...rows.keys()];

/** Whether a run is selected, by the text field and along all axes. */
function isSelected(run) {
  const text = find("#filter")?.value.trim().toLowerCase() ?? "";
  return words.get(run).includes(text) && [...ranges].every(([axis, [low, high]]) => {
    const at = axes[axis].positions[run];
    return at >= low && at <= high;
  });
}

/** The first configurations with a selected run, in the order of the table. */
function shownGroups() {
  const found = new Set(order.filter(run => hasCurves.has(groups[run]) && isSelected(run)).map(run => groups[run]));
  return [...found].slice(0, Number(find("#limit")?.value ?? 10));
}

function update() {
  const shown = shownGroups();
  for (const group of colors.keys()) if (!shown.includes(group)) colors.delete(group);
  for (const group of shown) {
    if (colors.has(group)) continue;
    const uses = Array.from({length: 10}, (_, color) => [...colors.values()].filter(used => used === color).length);
    colors.set(group, uses.indexOf(Math.min(...uses)));
  }
  let count = 0;
  for (const [run, row] of rows) {
    row.hidden = !isSelected(run);
    count += !row.hidden;
    find(`[data-details="${run}"]`).hidden = row.hidden;
    find(".swatch", row).style.cssText = colors.has(groups[run]) ? `--c: var(--c${colors.get(groups[run])})` : "";
  }
  if (find("#count")) find("#count").textContent = count < rows.size ? `${count} of ${rows.size} runs` : `${count} runs`;
  if (find("#clear")) find("#clear").style.visibility = count === rows.size && !ranges.size ? "hidden" : "visible";
  for (const point of all("#front circle")) point.classList.toggle("out", rows.get(Number(point.dataset.run)).hidden);
  for (const line of all("#parallel .run-line")) line.classList.toggle("out", rows.get(Number(line.dataset.run)).hidden);
  drawLegend(shown);
  all("[data-chart]").forEach(drawChart);
}

/** Emphasize a run or a configuration everywhere; nothing without arguments. */
function emphasize(group = null, run = null) {
  const is = element => run === null || element.dataset.run === undefined
    ? Number(element.dataset.group) === group : Number(element.dataset.run) === run;
  for (const root of all(".charts svg, #parallel svg, #front svg")) root.classList.toggle("focus", group !== null);
  for (const element of all("svg [data-group]")) element.classList.toggle("on", group !== null && is(element));
  for (const [one, row] of rows) row.classList.toggle("on", group !== null && (run === null ? groups[one] === group : one === run));
}

// Tooltip

const tip = find("#tip");

/** Show a table next to a point of the window. */
function showTip(x, y, title, lines) {
  tip.replaceChildren(title);
  const table = tip.appendChild(document.createElement("table"));
  for (const {cells, color, isOn} of lines) {
    const row = table.insertRow();
    row.className = isOn ? "on" : "";
    cells.forEach((cell, index) => {
      const data = row.insertCell();
      if (!index && color) {
        const swatch = data.appendChild(document.createElement("i"));
        swatch.className = "swatch";
        swatch.style.cssText = `--c: ${color}`;
      }
      data.append(cell);
    });
  }
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = `${x + 16 + width > innerWidth ? Math.max(4, x - 16 - width) : x + 16}px`;
  tip.style.top = `${clamp(y + 12, 4, Math.max(4, innerHeight - height - 4))}px`;
}

function hideTip() {
  tip.hidden = true;
  emphasize();
}

// Tables

/** A number, if a text is one. */
const parse = text => text === "" || Number.isNaN(Number(text)) ? text : Number(text);

const keyOf = cell => {
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" ? null : parse(text);
};

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return typeof a === "number" ? a - b : a.localeCompare(b, "en", {numeric: true});
}

/** Sort by a column, cells without a value last: first as its metric is better, then reversed. */
function sortBy(button) {
  const heading = button.closest("th"), table = button.closest("table"), column = heading.cellIndex;
  const previous = heading.getAttribute("aria-sort");
  const direction = previous ? (previous === "ascending" ? "descending" : "ascending") : button.dataset.first;
  all("th[aria-sort]", table).forEach(other => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", direction);
  const keyed = [...table.tBodies[0].rows].map(row => [keyOf(row.cells[column]), row]);
  const sign = direction === "ascending" ? 1 : -1;
  keyed.sort(([a], [b]) => (a === null || b === null ? 1 : sign) * compare(a, b));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
  if (table.id === "runs") {
    order = keyed.map(([, row]) => Number(row.dataset.row));
    update();
  }
}

all(".sortable thead button").forEach(button => button.addEventListener("click", () => sortBy(button)));
find("#filter")?.addEventListener("input", update);
find("#limit")?.addEventListener("change", update);
find("#mean")?.addEventListener("change", update);
find("#clear")?.addEventListener("click", () => {
  find("#filter").value = "";
  ranges.clear();
  drawParallel();
  update();
});
for (const [run, row] of rows) {
  row.addEventListener("pointerenter", () => emphasize(groups[run], run));
  row.addEventListener("pointerleave", () => emphasize());
}

// Parallel coordinates

const TOP = 40, BOTTOM = 345, NONE = 368;
const ranked = scores.map((score, run) => [score, run]).filter(([score]) => score !== null).sort(([a], [b]) => a - b);
const share = new Map(ranked.map(([, run], rank) => [run, ranked.length > 1 ? rank / (ranked.length - 1) : 1]));

/** Add to an axis the position of each run, from 0 to 1 or -1 without a value, and its ticks. */
function place(axis) {
  const known = axis.values.filter(value => value !== null);
  if (axis.scale === "choice") {
    const choices = [...new Set(known)].sort((a, b) => compare(parse(a), parse(b)));
    const step = choices.length > 1 ? 1 / (choices.length - 1) : 0;
    // Better runs are higher within a choice, so that lines do not cover each other.
    const spread = Math.min(0.06, step / 4) * Math.min(1, known.length / choices.length / 10);
    const at = choice => step ? choices.indexOf(choice) * step : 0.5;
    axis.positions = axis.values.map((value, run) => value === null ? -1 : clamp(at(value), spread, 1 - spread) + spread * (2 * (share.get(run) ?? 0) - 1));
    axis.ticks = choices.map(choice => [clamp(at(choice), spread, 1 - spread), choice]);
    return;
  }
  const low = Math.min(...known), high = Math.max(...known);
  const to = axis.scale === "log" ? Math.log : value => value;
  const at = value => high > low ? (to(value) - to(low)) / (to(high) - to(low)) : 0.5;
  axis.positions = axis.values.map(value => value === null ? -1 : at(value));
  const inner = ticksOf(low, high, axis.scale === "log", 6).map(value => [at(value), String(value)]);
  const [first, last] = [low, high].map(value => [at(value), figure(value)]);
  axis.ticks = [first, ...inner.filter(([position]) => position > 0.06 && position < 0.94), last];
}

const heightOf = position => position < 0 ? NONE : BOTTOM - position * (BOTTOM - TOP);

function drawParallel() {
  const svg = find("#parallel svg");
  if (!svg) return;
  svg.replaceChildren();
  svg.style.setProperty("--least", `${axes.length * 105}px`);
  const width = svg.clientWidth, margin = 70;
  svg.setAttribute("viewBox", `0 0 ${width} ${svg.clientHeight}`);  // to fit a printed page
  axes.forEach((axis, index) => { axis.x = margin + index * (width - 2 * margin) / (axes.length - 1); });
  // The best lines are drawn last, above the others.
  const drawn = [...rows.keys()].sort((a, b) => (share.get(a) ?? -1) - (share.get(b) ?? -1));
  for (const run of drawn) {
    const points = axes.map(axis => `${axis.x.toFixed(1)} ${heightOf(axis.positions[run]).toFixed(1)}`);
    const line = add(svg, "path", {d: `M${points.join("L")}`, class: "run-line", "data-run": run, "data-group": groups[run]});
    if (share.has(run)) line.style.setProperty("--s", `${Math.round(100 * share.get(run))}%`);
    else line.classList.add("unranked");
  }
  axes.forEach((axis, index) => drawAxis(svg, axis, index));
}

function drawAxis(svg, axis, index) {
  const known = axis.ticks.map(([, text]) => text);
  const label = `${axis.name}, ${known[0]} to ${known.at(-1)}; up and down arrow keys select, Escape shows all`;
  const group = add(svg, "g", {class: "axis", tabindex: 0, role: "group", "aria-label": label, "data-axis": index});
  const last = index === axes.length - 1;
  add(group, "path", {d: `M${axis.x} ${TOP}V${BOTTOM}`});
  add(group, "text", {x: axis.x, y: 18, "text-anchor": "middle", class: "name"}, shorten(axis.name, 18));
  add(group, "title", {}, axis.name);
  for (const [position, text] of axis.ticks) {
    add(group, "text", {x: axis.x + (last ? 8 : -8), y: heightOf(position) + 4, "text-anchor": last ? "start" : "end", class: "tick"}, shorten(text, 12));
  }
  if (axis.positions.includes(-1)) {
    add(group, "text", {x: axis.x + (last ? 8 : -8), y: NONE + 4, "text-anchor": last ? "start" : "end", class: "tick"}, "none");
  }
  const selection = add(group, "rect", {class: "selection", x: axis.x - 9, width: 18});
  add(group, "rect", {class: "hit", x: axis.x - 20, y: TOP - 30, width: 40, height: BOTTOM - TOP + 60});

  const show = () => {
    const [low, high] = ranges.get(index) ?? [0, 0];
    selection.setAttribute("y", heightOf(high));
    selection.setAttribute("height", (high - low) * (BOTTOM - TOP));
  };
  const select = (low, high) => {
    if (low === null) ranges.delete(index);
    else ranges.set(index, [low, high]);
    show();
    update();
  };
  show();
  group.addEventListener("pointerdown", down => {
    const at = event => clamp((BOTTOM - event.clientY + svg.getBoundingClientRect().top) / (BOTTOM - TOP), 0, 1);
    const start = at(down);
    let isDrag = false;
    group.setPointerCapture(down.pointerId);
    group.onpointermove = move => {
      isDrag ||= Math.abs(move.clientY - down.clientY) > 3;
      if (isDrag) select(Math.min(start, at(move)), Math.max(start, at(move)));
    };
    group.onpointerup = group.onpointercancel = () => {
      group.onpointermove = group.onpointerup = group.onpointercancel = null;
      if (!isDrag) select(null);
    };
  });
  group.addEventListener("keydown", event => {
    const [low, high] = ranges.get(index) ?? [0, 1];
    if (event.key === "ArrowUp") select(Math.min(high, low + 0.05), high);
    else if (event.key === "ArrowDown") select(low, Math.max(low, high - 0.05));
    else if (event.key === "Escape") select(null);
    else return;
    event.preventDefault();
  });
}

const shorten = (text, length) => text.length > length ? `${text.slice(0, length - 1)}…` : text;

/** Show the values of the line nearest to the pointer. */
function readParallel(event) {
  const svg = find("#parallel svg"), box = svg.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const right = axes.findIndex(axis => axis.x >= x);
  if (right < 1) return hideTip();
  const [a, b] = [axes[right - 1], axes[right]], part = (x - a.x) / (b.x - a.x);
  const distance = run => Math.abs(y - heightOf(a.positions[run]) * (1 - part) - heightOf(b.positions[run]) * part);
  const run = order.filter(isSelected).reduce((best, one) => best === null || distance(one) < distance(best) ? one : best, null);
  if (run === null || distance(run) > 15) return hideTip();
  emphasize(groups[run], run);
  const lines = axes.map(axis => ({cells: [axis.name, typeof axis.values[run] === "number" ? figure(axis.values[run]) : axis.values[run] ?? "none"]}));
  return showTip(event.clientX, event.clientY, ids[run], lines);
}

find("#parallel svg")?.addEventListener("pointermove", readParallel);
find("#parallel svg")?.addEventListener("pointerleave", hideTip);

// Pareto front

/** The scale of an axis: the extent of the front and half of it on either side, as far as there are runs. */
function scaleOf({values, is_log: isLog}, from, to) {
  const [map, inverse] = isLog ? [Math.log, Math.exp] : [value => value, value => value];
  const positions = values.map(value => value === null ? null : map(value));
  const all = extent(positions.filter(position => position !== null)), best = extent(front.runs.map(run => positions[run]));
  const margin = best[1] > best[0] ? (best[1] - best[0]) / 2 : Infinity;
  let [low, high] = [Math.max(all[0], best[0] - margin), Math.min(all[1], best[1] + margin)];
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
  const at = position => from + (0.03 + 0.94 * (position - low) / (high - low)) * (to - from);
  const ticks = ticksOf(inverse(low), inverse(high), isLog, 6).map(tick => [at(map(tick)), String(tick)]);
  return {ticks, at: positions.map(position => position === null || position < low || position > high ? null : at(position))};
}

/** Draw the runs by two objectives, and the steps of the front if there are no others. */
function drawFront() {
  const svg = find("#front svg");
  if (!svg || !front.runs.length) return;
  const width = svg.clientWidth, height = svg.clientHeight;
  const [horizontal, vertical] = [["#front-x", 1], ["#front-y", 0]].map(([id, usual]) => front.objectives[find(id)?.value ?? usual]);
  const x = scaleOf(horizontal, LEFT, width - RIGHT), y = scaleOf(vertical, height - 2 * LOWER, UPPER);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const [at, text] of y.ticks) {
    add(svg, "path", {class: "grid", d: `M${LEFT} ${at.toFixed(1)}H${width - RIGHT}`});
    add(svg, "text", {x: LEFT - 6, y: at + 4, "text-anchor": "end"}, text);
  }
  for (const [at, text] of x.ticks) {
    add(svg, "path", {class: "grid", d: `M${at.toFixed(1)} ${UPPER}V${height - 2 * LOWER}`});
    add(svg, "text", {x: at, y: height - 2 * LOWER + 16, "text-anchor": "middle"}, text);
  }
  const name = ({name, mode}) => `${name} (${mode})`;
  add(svg, "text", {x: (LEFT + width) / 2, y: height - 8, "text-anchor": "middle"}, name(horizontal));
  add(svg, "text", {x: 12, y: height / 2 - LOWER, "text-anchor": "middle", transform: `rotate(-90 12 ${height / 2 - LOWER})`}, name(vertical));
  if (front.objectives.length === 2) {
    const sign = horizontal.mode === "min" ? 1 : -1;
    const points = front.runs.map(run => [x.at[run], y.at[run]]).sort(([a], [b]) => sign * (a - b));
    add(svg, "path", {class: "steps", d: points.map(([a, b], index) => index ? `H${a.toFixed(1)}V${b.toFixed(1)}` : `M${a.toFixed(1)} ${b.toFixed(1)}`).join("")});
  }
  const known = order.filter(run => horizontal.values[run] !== null && vertical.values[run] !== null);
  const drawn = known.filter(run => x.at[run] !== null && y.at[run] !== null);
  const left = known.length - drawn.length;
  find("#front output").textContent = left ? `Outside the chart: ${left}.` : "";
  for (const run of drawn.sort((a, b) => front.runs.includes(a) - front.runs.includes(b))) {
    const attributes = {cx: x.at[run].toFixed(1), cy: y.at[run].toFixed(1), r: 5, "data-run": run, "data-group": groups[run]};
    const point = add(svg, "circle", {...attributes, class: front.runs.includes(run) ? "best" : ""});
    point.addEventListener("pointerenter", event => {
      emphasize(groups[run], run);
      const values = front.objectives.map(objective => ({cells: [objective.name, objective.values[run] === null ? "none" : figure(objective.values[run])]}));
      showTip(event.clientX, event.clientY, [...new Set([ids[run], ...labels[groups[run]]])].join(" "), values);
    });
    point.addEventListener("pointerleave", hideTip);
    point.addEventListener("click", () => { location.hash = `run-${run}`; });
  }
}

all("#front select").forEach(select => select.addEventListener("change", () => {
  drawFront();
  update();
}));

// Curves

const LEFT = 58, RIGHT = 8, UPPER = 10, LOWER = 26;
const NICE = [1, 2, 2.5, 5, 10];

/** Round numbers within an interval. */
function ticksOf(low, high, isLog, count) {
  if (!(high > low)) return [low];
  if (isLog) {
    const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
    const every = Math.ceil((last - first + 1) / count);
    const powers = Array.from({length: Math.max(0, last - first + 1)}, (_, index) => first + index);
    const found = powers.filter(power => (power - first) % every === 0).map(power => Number(`1e${power}`));
    if (found.length > 1) return found;
  }
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = NICE.find(nice => nice * power >= rough) * power;
  const first = Math.ceil(low / step), found = [];
  for (let number = first; number * step <= high * (1 + 1e-12); number++) found.push(Number((number * step).toPrecision(10)));
  return found;
}

/** The lines of a chart to draw: of shown configurations, the mean over replicates or all runs. */
function linesOf(chart) {
  const isMean = find("#mean")?.checked, means = new Set();
  if (isMean) chart.lines.filter(line => line.n).forEach(line => means.add(`${line.group} ${line.tag}`));
  return chart.lines.filter(line => colors.has(line.group) && !hidden.has(line.group) &&
    (line.n ? isMean : !means.has(`${line.group} ${line.tag}`) && !rows.get(line.run).hidden));
}

/** Highest value of the axis: outliers, as of diverged runs, are cut off so that the others can be distinguished. */
function ceilingOf(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const low = sorted[0], high = sorted.at(-1), usual = sorted[Math.floor(0.95 * (sorted.length - 1))];
  return high - low > 6 * (usual - low) && usual > low ? usual + 0.1 * (usual - low) : high;
}

function drawChart(element) {
  const chart = charts[Number(element.dataset.chart)], svg = find("svg", element);
  const width = svg.clientWidth, height = svg.clientHeight;
  if (!width) return;  // collapsed
  const lines = linesOf(chart), tags = [...new Set(chart.lines.map(line => line.tag))];
  const [from, to] = chart.view ?? extent(lines.flatMap(line => steps[line.steps]));
  const visible = lines.flatMap(line => line.values.flatMap((value, index) => {
    const step = steps[line.steps][index];
    return value === null || step < from || step > to ? [] : line.n && line.std[index] !== null
      ? [value - line.std[index], value, value + line.std[index]] : [value];
  }));
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.drawn = null;
  const log = find(".log", element);
  const isPositive = lines.every(line => line.values.every(value => value === null || value > 0));
  log.hidden = !isPositive;
  chart.isLog &&= isPositive;
  log.setAttribute("aria-pressed", Boolean(chart.isLog));
  find(".reset", element).hidden = !chart.view;
  const notes = tags.length > 1 ? [`${tags[0]} dashed`] : [];
  if (!visible.length) {
    add(svg, "text", {x: width / 2, y: height / 2, "text-anchor": "middle"}, lines.length ? "no finite values" : "none of the shown runs has this curve");
    find(".note", element).textContent = notes.join("; ");
    return;
  }
  const positive = visible.filter(value => value > 0);
  let [low, high] = extent(chart.isLog ? positive : visible);
  if (!chart.isLog) {
    const ceiling = ceilingOf(visible);
    if (ceiling < high) notes.push(`values up to ${figure(high)} are above the chart`);
    high = ceiling;
  }
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
  find(".note", element).textContent = notes.join("; ");

  const scale = chart.isLog ? Math.log : value => value, pad = chart.isLog ? 0 : 0.03 * (high - low);
  const [floor, ceiling] = [scale(low) - pad, scale(high) + pad];
  const x = step => LEFT + (to > from ? (step - from) / (to - from) : 0.5) * (width - LEFT - RIGHT);
  const y = value => clamp(height - LOWER - (scale(Math.max(value, chart.isLog ? low : -Infinity)) - floor) / (ceiling - floor) * (height - LOWER - UPPER), -1e5, 1e5);
  const ticks = ticksOf(low, high, chart.isLog, 5);
  const decimals = Math.max(...ticks.map(tick => (String(tick).split(".")[1] ?? "").length));
  const largest = Math.max(Math.abs(low), Math.abs(high));
  const isExtreme = largest >= 1e5 || (chart.isLog ? low : largest) < 1e-3;
  const name = tick => isExtreme ? tick.toExponential() : chart.isLog ? String(tick) : tick.toFixed(decimals);
  for (const tick of ticks) {
    add(svg, "path", {class: "grid", d: `M${LEFT} ${y(tick).toFixed(1)}H${width - RIGHT}`});
    add(svg, "text", {x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end"}, name(tick));
  }
  for (const tick of ticksOf(from, to, false, Math.max(2, width / 110))) {
    const anchor = x(tick) > width - 30 ? "end" : "middle";
    add(svg, "text", {x: Math.min(x(tick), width), y: height - 8, "text-anchor": anchor, class: "step"}, tick.toLocaleString("en"));
  }
  add(svg, "path", {class: "grid", d: `M${LEFT} ${height - LOWER}H${width - RIGHT}`});
  const id = `clip${element.dataset.chart}`;
  add(add(svg, "clipPath", {id}), "rect", {x: LEFT, y: UPPER - 6, width: width - LEFT - RIGHT, height: height - UPPER - LOWER + 8});
  const plot = add(svg, "g", {"clip-path": `url(#${id})`});
  for (const line of lines) drawLine(plot, line, x, y, tags.length > 1 && line.tag === tags[0]);
  add(svg, "g", {class: "reading"});
  chart.drawn = {lines, x, y, from, to, width, height};
}

const extent = values => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

function drawLine(plot, line, x, y, isDashed) {
  const attributes = {"data-group": line.group, style: `--c: var(--c${colors.get(line.group)})`};
  if (line.run !== undefined) attributes["data-run"] = line.run;
  const points = steps[line.steps].map((step, index) => [x(step), line.values[index], index]).filter(([, value]) => value !== null);
  if (line.n) {
    const band = points.map(([at, value, index]) => [at, value, line.std[index] ?? 0]);
    const upper = band.map(([at, value, std]) => `${at.toFixed(1)} ${y(value + std).toFixed(1)}`);
    const lower = band.map(([at, value, std]) => `${at.toFixed(1)} ${y(value - std).toFixed(1)}`).reverse();
    add(plot, "path", {...attributes, class: "band", d: `M${[...upper, ...lower].join("L")}Z`});
  }
  const pieces = [];
  points.forEach(([at, value, index], number) => {
    const joins = number && points[number - 1][2] === index - 1;  // NaN and Inf interrupt a line
    pieces.push(`${joins ? "L" : "M"}${at.toFixed(1)} ${y(value).toFixed(1)}`);
  });
  add(plot, "path", {...attributes, class: isDashed ? "line dashed" : "line", d: pieces.join("")});
  if (points.length === 1) add(plot, "circle", {...attributes, class: "dot", cx: points[0][0], cy: y(points[0][1]), r: 3});
}

/** Show the values of all lines at a step, the one nearest to a height in bold. */
function readChart(element, step, height) {
  const {lines, x, y, height: bottom} = charts[Number(element.dataset.chart)].drawn;
  const found = lines.flatMap(line => {
    const index = nearest(steps[line.steps], step);
    return line.values[index] === null ? [] : [{line, index, at: y(line.values[index])}];
  });
  if (!found.length) return;
  const best = found.reduce((a, b) => Math.abs(b.at - height) < Math.abs(a.at - height) ? b : a);
  const at = steps[best.line.steps][best.index];
  const near = found.toSorted((a, b) => Math.abs(a.at - height) - Math.abs(b.at - height)).slice(0, 12).sort((a, b) => a.at - b.at);
  const reading = find(".reading", element), svg = find("svg", element).getBoundingClientRect();
  reading.replaceChildren();
  add(reading, "path", {class: "cursor", d: `M${x(at)} ${UPPER}V${bottom - LOWER}`});
  add(reading, "circle", {class: "dot", cx: x(at), cy: best.at, r: 4, style: `--c: var(--c${colors.get(best.line.group)})`});
  emphasize(best.line.group, best.line.run ?? null);
  showTip(svg.left + x(at), svg.bottom - LOWER, `step ${at.toLocaleString("en")}`, near.map(({line, index}) => {
    const name = [...labels[line.group]];
    if (line.run !== undefined && !name.includes(ids[line.run])) name.push(ids[line.run]);
    const spread = line.n && line.std[index] !== null ? ` ± ${line.std[index].toPrecision(2)} (n = ${line.n[index]})` : "";
    const other = steps[line.steps][index];
    return {
      cells: [name.join(" "), line.tag, figure(line.values[index]) + spread + (other === at ? "" : ` at ${other.toLocaleString("en")}`)],
      color: `var(--c${colors.get(line.group)})`,
      isOn: line === best.line,
    };
  }));
}

/** The index of the number nearest to a value, in an increasing list. */
function nearest(list, value) {
  let low = 0, high = list.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle;
    else high = middle;
  }
  return value - list[low] <= list[high] - value ? low : high;
}

function listen(element) {
  const chart = charts[Number(element.dataset.chart)], svg = find("svg", element);
  const stepAt = event => {
    const {from, to, width} = chart.drawn;
    const at = (event.clientX - svg.getBoundingClientRect().left - LEFT) / (width - LEFT - RIGHT);
    return from + clamp(at, 0, 1) * (to - from);
  };
  const zoom = view => {
    chart.view = view;
    drawChart(element);
  };
  const leave = () => {
    find(".reading", element)?.replaceChildren();
    hideTip();
  };
  let start = null, selection = null, key = null;
  svg.addEventListener("pointermove", event => {
    if (!chart.drawn) return;
    if (start !== null) {
      const [a, b] = [start, stepAt(event)].sort((a, b) => a - b).map(chart.drawn.x);
      selection ??= add(svg, "rect", {class: "selection", y: UPPER, height: chart.drawn.height - UPPER - LOWER});
      selection.setAttribute("x", a);
      selection.setAttribute("width", b - a);
    }
    readChart(element, stepAt(event), event.clientY - svg.getBoundingClientRect().top);
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("pointerdown", event => {
    if (!chart.drawn || event.pointerType === "touch") return;
    start = stepAt(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointerup", event => {
    if (start === null) return;
    const view = [start, stepAt(event)].sort((a, b) => a - b);
    const isDrag = selection && chart.drawn.x(view[1]) - chart.drawn.x(view[0]) > 6;
    selection?.remove();
    start = selection = null;
    if (isDrag) zoom(view);
  });
  svg.addEventListener("dblclick", () => zoom(null));
  svg.addEventListener("keydown", event => {
    if (event.key === "Escape") {
      key = null;
      leave();
    }
    if (!chart.drawn || !["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    const {lines, y, from, to} = chart.drawn;
    key ??= {line: 0, step: from};
    if (event.key === "ArrowUp") key.line += lines.length - 1;
    if (event.key === "ArrowDown") key.line += 1;
    const line = lines[key.line %= lines.length], list = steps[line.steps];
    let index = nearest(list, key.step);
    if (event.key === "ArrowLeft") index -= 1;
    if (event.key === "ArrowRight") index += 1;
    index = clamp(index, 0, list.length - 1);
    key.step = clamp(list[index], from, to);
    if (line.values[index] !== null) readChart(element, key.step, y(line.values[index]));
  });
  svg.addEventListener("blur", leave);
  find(".reset", element).addEventListener("click", () => zoom(null));
  find(".log", element).addEventListener("click", () => {
    chart.isLog = !chart.isLog;
    drawChart(element);
  });
}

function drawLegend(shown) {
  if (!find("#legend")) return;
  // Words in which all shown configurations agree are written once.
  let common = shown.length > 1 ? labels[shown[0]].filter(word => shown.every(group => labels[group].includes(word))) : [];
  if (shown.some(group => labels[group].every(word => common.includes(word)))) common = [];
  find("#common").textContent = common.length ? `All have ${common.join(" ")}.` : "";
  find("#legend").replaceChildren(...shown.map(group => {
    const button = document.createElement("button"), swatch = document.createElement("i");
    const count = groups.filter(one => one === group).length;
    swatch.className = "swatch";
    button.style.cssText = `--c: var(--c${colors.get(group)})`;
    button.setAttribute("aria-pressed", !hidden.has(group));
    button.append(swatch, labels[group].filter(word => !common.includes(word)).join(" "));
    if (count > 1) button.appendChild(document.createElement("small")).textContent = ` ${count} runs`;
    button.addEventListener("click", () => {
      if (!hidden.delete(group)) hidden.add(group);
      button.setAttribute("aria-pressed", !hidden.has(group));
      all("[data-chart]").forEach(drawChart);
    });
    button.addEventListener("pointerenter", () => emphasize(group));
    button.addEventListener("pointerleave", () => emphasize());
    return button;
  }));
}

// A link to a run opens its section.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.matches("details")) {
    target.open = true;
    target.scrollIntoView();
  }
}

// The table keeps its height when rows are hidden: what follows must not move under the pointer that selects them.
const region = find("#runs").closest(".tall");
region.style.minHeight = `${region.offsetHeight}px`;
axes.forEach(place);
all("[data-chart]").forEach(listen);
drawFront();
drawParallel();
update();
openTarget();
addEventListener("hashchange", openTarget);
find("#further")?.addEventListener("toggle", () => all("#further [data-chart]").forEach(drawChart));
let width = innerWidth;
addEventListener("resize", () => {
  if (width === innerWidth) return;
  width = innerWidth;
  drawFront();
  drawParallel();
  update();
});
