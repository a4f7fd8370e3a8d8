// Panels of curves, drawn by uPlot (uplot.js, which makes the name uPlot global).
import { make } from "/static/wall.js";

const HEIGHT = 190;
const DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3]];
const COLOURS = 8;
const charts = new Map();  // title -> {figure, plot, lines, signature}
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const sized = new ResizeObserver((entries) => entries.forEach(({ target, contentRect }) => {
  const chart = [...charts.values()].find((each) => each.place === target);
  if (chart?.plot && contentRect.width) chart.plot.setSize({ width: Math.floor(contentRect.width), height: HEIGHT });
}));

export function forgetCurves() {
  for (const chart of charts.values()) { sized.unobserve(chart.place); chart.plot?.destroy(); chart.figure.remove(); }
  charts.clear();
}

// Running mean over a twentieth of the points on each side, symmetric, so that ends do not lag.
function smooth(values) {
  const widest = Math.max(1, Math.floor(values.length / 20));
  const sums = [0];
  values.forEach((value) => sums.push(sums[sums.length - 1] + value));
  return values.map((_, at) => {
    const reach = Math.min(widest, at, values.length - 1 - at);
    return (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1);
  });
}

const plain = (name) => name.replace(/^(held out|training) ?/, "");

// runs: [name, Map of key -> [steps, values]] of each run in its colour's order.
export function drawCurves(first, rest, panels, runs, smoothed) {
  const titles = new Set(panels.map((panel) => panel.title));
  for (const [title, chart] of charts) {
    if (!titles.has(title)) { sized.unobserve(chart.place); chart.plot?.destroy(); chart.figure.remove(); charts.delete(title); }
  }
  for (const panel of panels) {
    // What is held out has the colour of its training curve, or with several runs that of its run, and points.
    const kinds = [...new Set(panel.series.map(({ name }) => plain(name)))];
    const lines = runs.flatMap(([run, series], of) => panel.series.map(({ name, key }) => ({
      name: runs.length > 1 ? `${run}: ${name}` : name, points: series.get(key), of: runs.length > 1 ? of : kinds.indexOf(plain(name)),
      dash: DASHES[runs.length > 1 ? kinds.indexOf(plain(name)) % DASHES.length : 0], held: key.startsWith("held_out/"),
    }))).filter((line) => line.points?.[0].length);
    draw(panel.first ? first : rest, panel, lines, smoothed);
  }
}

function draw(place, panel, lines, smoothed) {
  const signature = JSON.stringify(lines.map(({ name, of }) => [name, of]));
  let chart = charts.get(panel.title);
  if (!chart) {
    const figure = make("figure", "", "chart");
    const inner = make("div");
    figure.append(make("figcaption", panel.title), ...(panel.meaning ? [make("p", panel.meaning, "faint")] : []), inner);
    place.append(figure);
    chart = { figure, place: inner, plot: null, signature: "" };
    charts.set(panel.title, chart);
    sized.observe(inner);
  }
  if (!lines.length) { chart.figure.hidden = true; return; }
  chart.figure.hidden = false;
  const tables = lines.map((line) => {
    const [steps, values] = line.points;
    return [steps, smoothed && !line.held && values.length > 40 ? smooth(values) : values];
  });
  const joined = uPlot.join(tables);
  if (chart.signature !== signature) {
    chart.plot?.destroy();
    chart.plot = new uPlot(options(panel, lines, chart.place.clientWidth || 380), joined, chart.place);
    chart.signature = signature;
  } else {
    chart.plot.setData(joined);
  }
  const latest = lines.map((line) => `${line.name} ${number(line.points[1].at(-1))}`).join(", ");
  chart.plot.root.setAttribute("role", "img");
  chart.plot.root.setAttribute("aria-label", `${panel.title} at step ${Math.max(...lines.map((line) => line.points[0].at(-1)))}: ${latest}`);
  chart.latest = lines.map((line) => line.points[1].at(-1));
  setTimeout(() => showLatest(chart));  // uPlot writes its own once this is over
}

const number = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(4))));

// Where no pointer is, the legend has the latest values.
function showLatest(chart) {
  if (!chart.plot.root.isConnected || !chart.latest) return;
  if (chart.plot.cursor.idx !== null && chart.plot.cursor.idx !== undefined && chart.plot.cursor.left >= 0) return;
  chart.plot.root.querySelectorAll(".u-legend .u-series").forEach((row, at) => {
    const value = row.querySelector(".u-value");
    if (value) value.textContent = at ? number(chart.latest[at - 1]) : "latest";
  });
}

function options(panel, lines, width) {
  const axis = { stroke: style("--faint"), grid: { stroke: style("--rule"), width: 1 }, ticks: { stroke: style("--rule"), width: 1 }, font: "11px system-ui" };
  return {
    width: Math.floor(width), height: HEIGHT, pxAlign: false,
    cursor: { sync: { key: "runs" }, drag: { x: true, y: false } },
    scales: { x: { time: false } },
    axes: [{ ...axis, size: 30 }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (Math.abs(tick) >= 1e5 ? tick.toExponential(0) : String(Number(tick.toPrecision(6))))) }],
    series: [{ label: "step", value: (_, value) => (value === null ? "latest" : String(value)) }, ...lines.map((line) => ({
      label: line.name, stroke: style(`--c${line.of % COLOURS}`), width: line.held ? 2 : 1.4, dash: line.dash.length ? line.dash : undefined,
      spanGaps: true, points: { show: line.held && line.points[0].length < 60, size: 5 }, value: (_, value) => number(value),
    }))],
    hooks: { draw: [(plot) => idle(plot, panel)], setCursor: [(plot) => { const chart = charts.get(panel.title); if (plot.cursor.left < 0 && chart?.plot) setTimeout(() => showLatest(chart)); }] },
  };
}

// The value at which nothing was learned yet.
function idle(plot, panel) {
  if (panel.idle === null || panel.idle < plot.scales.y.min || panel.idle > plot.scales.y.max) return;
  const { ctx, bbox } = plot;
  const y = plot.valToPos(panel.idle, "y", true);
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = style("--faint");
  ctx.setLineDash([4, 4]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.textAlign = "left";
  ctx.font = `${11 * devicePixelRatio}px system-ui`;
  const place = [panel.idle_name, bbox.left + 4 * devicePixelRatio, y - 4 * devicePixelRatio];
  ctx.setLineDash([]);
  ctx.lineWidth = 4 * devicePixelRatio;
  ctx.strokeStyle = style("--card");
  ctx.strokeText(...place);
  ctx.fillText(...place);
  ctx.restore();
}
