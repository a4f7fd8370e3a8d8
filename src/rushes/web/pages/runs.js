// Runs as they train: what is new is asked for every two seconds; curves lie over each other.
import { call } from "/static/api.js";
import { sentence } from "/static/session.js";
import { PlayerBar } from "/static/player_bar.js";
import { Wall, attempt, make, missing, tell } from "/static/wall.js";
import { drawCurves, forgetCurves } from "/static/curves.js";

const $ = (selector) => document.querySelector(selector);
const EVERY_MS = 3000;
const QUIET_MS = 10_000;  // where nothing trains and nothing came for a minute
const QUIET_AFTER = 30;  // polls
const LIST_EVERY = 5;  // polls
const COLUMNS = 6;  // steps of samples beside each other
const data = new Map();  // name -> {generation, through, series, state}
let listed = [];
let points = 2000;
let atOnce = 12;
let ticks = 0;
let quiet = 0;  // polls since something came
let spoken = "";
const wall = new Wall();
new PlayerBar(wall).listen(attempt);

// ---- which runs are shown: in the address, so that it can be opened again ------------------------------------------

const wanted = () => (new URLSearchParams(location.search).get("runs") || "").split(",").filter(Boolean).map(decodeURIComponent);

function shown() {
  const names = listed.map((run) => run.name);
  const chosen = wanted().filter((name) => names.includes(name));
  return chosen.length || !names.length ? chosen : names.slice(-1);
}

function choose(names) {
  const query = names.length ? `?runs=${names.map(encodeURIComponent).map(encodeURIComponent).join(",")}` : "";
  history.replaceState(null, "", location.pathname + query);
}

// ---- figures in words ----------------------------------------------------------------------------------------------

const digits = (value, count = 3) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(count))));

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// ---- drawing -------------------------------------------------------------------------------------------------------

function drawTable() {
  const chosen = shown();
  $("#runs").hidden = !listed.length;
  const focused = document.activeElement?.dataset?.run;
  $("#runs tbody").replaceChildren(...[...listed].reverse().map((run) => {
    const state = chosen.includes(run.name) && data.get(run.name)?.state || run;
    const row = make("tr");
    const head = make("th");
    head.scope = "row";
    const label = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.dataset.run = run.name;
    box.checked = chosen.includes(run.name);
    box.disabled = !box.checked && chosen.length >= atOnce;
    box.addEventListener("change", () => toggle(run.name, box.checked));
    const at = chosen.indexOf(run.name);
    label.append(box, " ", make("span", "", at < 0 ? "swatch" : `swatch i${at % 8}`), run.name, " ", make("span", state.recipe && state.recipe !== run.name ? state.recipe : "", "faint"));
    head.append(label);
    const health = state.health?.verdict || "";
    row.append(head, make("td", state.state, `state-${state.state.replace(" ", "-")}`),
      make("td", state.steps ? `${state.step} of ${state.steps}` : String(state.step), "num"),
      make("td", digits(state.seconds), "num"), make("td", state.state === "training" ? span(state.left_s) : "–", "num"),
      make("td", state.memory_gib ? `${digits(state.memory_gib)} GiB` : "–", "num"), make("td", health, health === "severe" ? "severe" : ""));
    return row;
  }));
  if (focused) document.querySelector(`input[data-run="${CSS.escape(focused)}"]`)?.focus();
}

function drawHealth() {
  const several = shown().length > 1;
  $("#health").replaceChildren(...shown().flatMap((name) => {
    const health = data.get(name)?.state.health;
    if (!health) return [];
    const prefix = several ? `${name}: ` : "";
    const lines = health.diagnoses.map((each) => {
      const block = make("div", "", `health ${each.severity}`);
      const first = make("p");
      first.append(make("b", `${prefix}${each.name.replaceAll("_", " ")}. `), each.evidence);
      const remedy = make("p");
      sentence(remedy, each.remedy);
      block.append(first, remedy);
      return block;
    });
    const notes = health.notes.map((text) => make("p", prefix + text, "health warning"));
    const word = make("p", `${prefix}${health.verdict}${health.verdict === "nothing wrong" ? "." : ", as far as the figures go."}`, `health${health.verdict === "nothing wrong" ? " good" : ""}`);
    return [...lines, ...notes, ...(lines.length ? [] : [word])];
  }));
}

// Said to a screen reader when it changes: state, health, and every tenth of the way.
function speak() {
  const words = shown().map((name) => {
    const state = data.get(name)?.state;
    if (!state) return "";
    const tenth = state.steps ? `${10 * Math.floor((10 * state.step) / state.steps)} % done` : "";
    return `${name}: ${state.state}, ${tenth}, health: ${state.health?.verdict}`;
  }).join("; ");
  if (words !== spoken) $("#live").textContent = spoken = words;
}

// ---- sampled clips -------------------------------------------------------------------------------------------------

// The first and the last steps, and as many between as there is room for.
function columns(steps) {
  if (steps.length <= COLUMNS) return steps;
  return [...new Set(Array.from({ length: COLUMNS }, (_, at) => steps[Math.round((at * (steps.length - 1)) / (COLUMNS - 1))]))];
}

let drawnSamples = "";
function drawSamples() {
  const runs = shown().map((name) => [name, data.get(name)?.state.samples]).filter(([, samples]) => samples?.steps);
  $("#samples").hidden = !runs.length;
  const key = JSON.stringify(runs);
  if (key === drawnSamples) return;
  drawnSamples = key;
  const playing = wall.playing;
  wall.clear();
  $("#strips").replaceChildren(...runs.flatMap(([name, samples]) => Array.from({ length: samples.clips }, (_, at) => {
    const part = make("section");
    const strip = make("div", "", "wall strip");
    part.append(make("h3", `${runs.length > 1 ? `${name}, ` : ""}prompt ${at + 1}`), strip);
    strip.append(...columns(samples.steps).map((step) => wall.cell({
      section: "runs", item: name, side: `step-${String(step).padStart(8, "0")}-${at}`, clip: samples,
      label: step ? `step ${step}` : "before training",
    })));
    return part;
  })));
  wall.changed();
  if (playing) setTimeout(() => wall.play(), 300);
}

// ---- polling -------------------------------------------------------------------------------------------------------

function take(run) {
  const has = data.get(run.name);
  const fresh = run.whole || !has;
  const series = fresh ? new Map() : has.series;
  for (const [key, [steps, values]] of Object.entries(run.series)) {
    const old = series.get(key);
    if (old) { old[0].push(...steps); old[1].push(...values); } else series.set(key, [steps, values]);
  }
  const longest = Math.max(0, ...[...series.values()].map(([steps]) => steps.length));
  const { series: _, ...state } = run;
  // What has grown too long is asked for again, thinned.
  data.set(run.name, { generation: longest > 2 * points ? 0 : run.generation, through: run.through, series, state });
}

async function poll() {
  if (ticks % LIST_EVERY === 0) {
    const answer = await call("/api/runs/list");
    ({ points, at_once: atOnce } = answer);
    listed = answer.runs;
    missing($("#nothing"), answer.nothing);
  }
  ticks += 1;
  const runs = shown().map((name) => ({ name, generation: data.get(name)?.generation || 0, since: data.get(name)?.through ?? -1 }));
  if (!runs.length) return drawTable();
  const answer = await call("/api/runs/read", { runs });
  const news = [...listed, ...answer.runs].some((run) => run.state === "training" || Object.keys(run.series || {}).length);
  quiet = news ? 0 : quiet + 1;
  answer.runs.forEach(take);
  $("#curves").hidden = !answer.panels.length;
  drawTable();
  drawHealth();
  drawCurves($("#first"), $("#rest"), answer.panels, shown().map((name) => [name, data.get(name)?.series || new Map()]), $("#smooth").checked);
  drawSamples();
  speak();
  return undefined;
}

let next = 0;
let busy = Promise.resolve();
function look() {
  clearTimeout(next);
  busy = busy.then(async () => {
    try {
      if (!document.hidden) await poll();
      tell(null);
    } catch (error) {
      ticks = 0;
      tell(error);
    }
    clearTimeout(next);
    next = setTimeout(look, quiet > QUIET_AFTER ? QUIET_MS : EVERY_MS);
  });
}

function toggle(name, on) {
  const names = shown().filter((other) => other !== name);
  choose(on ? [...names, name] : names);
  forgetCurves();
  drawTable();
  look();
}

$("#smooth").addEventListener("change", look);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetCurves(); look(); });

look();
