// Two systems on the same prompts and seeds, open or blind. A choice that is made here is shown and stored nowhere.
import { call } from "/static/api.js";
import { PlayerBar } from "/static/player_bar.js";
import { Wall, arrows, attempt, make, missing, number, options } from "/static/wall.js";
import { shown } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);
const form = $("#choice");
const wall = new Wall();
const bar = new PlayerBar(wall);
bar.listen(attempt);
let pairs = [];
let now = null;  // the pair that is shown: {first, second} ids
let duel = [];  // its figures
let page = 0;
let perPage = 50;
let turn = 0;
const turned = new Map();  // pair -> whether the second system is A; drawn once, so that a pair looks the same again
const votes = new Map();  // pair -> 0 first, 1 second, -1 tie
const seen = new Set();  // pairs that were revealed

const field = (name) => form.elements[name];
const systems = () => [field("first").value, field("second").value];
const blind = () => field("blind").checked;
const key = (pair) => `${pair.first} ${pair.second}`;
const hidden = (pair) => blind() && !seen.has(key(pair));

function ask() {
  const [first, second] = systems();
  return { first, second, metric: field("metric").value, order: field("metric").value ? field("order").value : "prompts", page };
}

// ---- the list of prompts -------------------------------------------------------------------------------------------

async function list() {
  const mine = ++turn;
  const [first, second] = systems();
  const answer = await call("/api/compare/pairs", ask());
  if (mine !== turn) return;
  pairs = answer.pairs;
  const metric = field("metric").value;
  options(field("metric"), answer.metrics, "none");
  field("metric").value = answer.metrics.includes(metric) ? metric : "";
  field("order").disabled = !field("metric").value;
  const from = page * perPage;
  $("#count").textContent = answer.total ? `${from + 1} to ${from + pairs.length} of ${answer.total} pairs` : `${first} and ${second} have no prompt and seed in common.`;
  $("#earlier").disabled = page === 0;
  $("#later").disabled = from + pairs.length >= answer.total;
  drawList();
  const again = now && pairs.find((pair) => key(pair) === key(now));
  if (pairs.length) await show(again || pairs[0]);
  else { now = null; wall.clear(); place([]); $("#caption").textContent = ""; $("#measured").hidden = true; }
}

function drawList() {
  $("#pairs").replaceChildren(...pairs.map((pair) => {
    const line = make("li");
    const button = make("button");
    button.type = "button";
    button.dataset.pair = key(pair);
    const gained = typeof pair.gain === "number" && !hidden(pair) ? `${pair.gain > 0 ? "gained" : pair.gain < 0 ? "lost" : "the same,"} ${number(Math.abs(pair.gain))}` : "";
    const vote = votes.has(key(pair)) ? `you: ${votes.get(key(pair)) < 0 ? "tie" : hidden(pair) ? letter(pair, votes.get(key(pair))) : systems()[votes.get(key(pair))]}` : "";
    button.append(make("span", pair.caption || "No caption"), make("small", [gained, vote].filter(Boolean).join(", ")));
    button.addEventListener("click", () => attempt(() => show(pair)));
    line.append(button);
    return line;
  }));
  mark();
}

function mark() {
  document.querySelectorAll("#pairs button").forEach((button) => {
    if (now && button.dataset.pair === key(now)) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
}

// ---- one pair ------------------------------------------------------------------------------------------------------

function isTurned(pair) {
  if (!blind()) return false;
  if (!turned.has(key(pair))) turned.set(key(pair), Math.random() < 0.5);
  return turned.get(key(pair));
}

// Under which letter a system is shown: 0 is the first.
const letter = (pair, system) => "AB"[isTurned(pair) ? 1 - system : system];

async function show(pair) {
  const mine = turn;
  now = pair;
  mark();
  const answer = await call("/api/compare/pair", { first: pair.first, second: pair.second });
  if (mine !== turn || now !== pair) return;
  const playing = wall.playing;
  wall.clear();
  $("#caption").textContent = shown(answer.caption) || "No caption";
  const sides = isTurned(pair) ? ["second", "first"] : ["first", "second"];
  place(sides.map((side, at) => {
    const figure = wall.cell({ section: "compare", item: answer[side].id, side: "file", copy: "copy", clip: answer[side], label: name(pair, at) });
    figure.className = "ab"[at];
    return figure;
  }), sides.map((side) => answer[side]));
  now.answer = answer;
  draw();
  if (playing) setTimeout(() => wall.play(), 300);
  const next = pairs[pairs.indexOf(pair) + 1];
  if (next) isTurned(next);
}

function place(figures, clips = []) {
  duel.forEach((figure) => figure.remove());
  duel = figures;
  $("#panes").prepend(...duel);
  bar.views.use(duel, clips);
}

// What stands over the video on the left (0) or right (1).
function name(pair, at) {
  const system = isTurned(pair) ? 1 - at : at;
  if (!blind()) return systems()[system];
  return hidden(pair) ? "AB"[at] : `${"AB"[at]}: ${systems()[system]}`;
}

function draw() {
  duel.forEach((figure, at) => {
    figure.querySelector("figcaption").textContent = name(now, at);
    figure.querySelector("video").setAttribute("aria-label", name(now, at));
  });
  $("#votes").hidden = !blind();
  $("#measured").hidden = hidden(now) || !now.answer.measured.length;
  $("#measured tbody").replaceChildren(...now.answer.measured.map((row) => {
    const gap = row.second - row.first;
    const line = make("tr");
    const winner = row.better === "neutral" || !gap ? "–" : systems()[(row.better === "higher") === gap > 0 ? 1 : 0];
    const head = make("th", row.metric);
    head.scope = "row";
    line.append(head, make("td", number(row.first), "num"), make("td", number(row.second), "num"), make("td", (gap > 0 ? "+" : "") + number(gap), "num"), make("td", winner));
    return line;
  }));
  const given = [...votes.values()];
  const count = (which) => given.filter((vote) => vote === which).length;
  // While a pair is hidden, totals by system would say which it was.
  $("#tally").textContent = !given.length || !blind() ? "" : `You chose in ${given.length} ${given.length === 1 ? "pair" : "pairs"}: ${systems()[0]} ${count(0)}, ${systems()[1]} ${count(1)}, tie ${count(-1)}. Nothing is stored.`;
  drawList();
}

// A choice reveals the pair, so that the next one is judged with nothing to hide.
function vote(side) {
  if (!blind() || !now?.answer) return;
  votes.set(key(now), side < 0 ? -1 : isTurned(now) ? 1 - side : side);
  seen.add(key(now));
  draw();
}

function reveal() {
  if (!now?.answer) return;
  seen.add(key(now));
  draw();
}

async function step(by) {
  const at = pairs.findIndex((pair) => now && key(pair) === key(now)) + by;
  if (pairs[at]) {
    await show(pairs[at]);
    document.querySelector("#pairs [aria-current]")?.scrollIntoView({ block: "nearest" });
  } else if (by > 0 && !$("#later").disabled) {
    page += 1;
    await list();
  }
}

// ---- all prompts ---------------------------------------------------------------------------------------------------

async function figures() {
  const [first, second] = systems();
  const answer = await call("/api/compare/figures", { first, second });
  if (systems().join() !== [first, second].join()) return;
  document.querySelectorAll("[data-first]").forEach((cell) => { cell.textContent = first; });
  document.querySelectorAll("[data-second]").forEach((cell) => { cell.textContent = second; });
  $("#words").textContent = answer.words.join(" ");
  missing($("#missing"), answer.missing);
  $("#source").textContent = answer.source ? `From ${answer.source}; differences are ${second} minus ${first}.` : "";
  $("#metrics").hidden = !answer.rows.length;
  $("#metrics tbody").replaceChildren(...answer.rows.map((row) => {
    const line = make("tr");
    const head = make("th", row.metric);
    head.scope = "row";
    const unit = [row.unit, row.better === "neutral" ? "" : `${row.better} is better`].filter(Boolean).join(", ");
    if (unit) head.append(" ", make("small", unit, "faint"));
    line.append(head, ...[row.first, row.second, row.difference, row.interval, row.wins ? row.wins.join(", ") : "–", row.pairs].map((text) => make("td", String(text), "num")), make("td", row.words, row.outcome));
    return line;
  }));
}

// ---- buttons, keys, coming in --------------------------------------------------------------------------------------

function changed(event) {
  if (event.target.name === "blind") { if (now?.answer) attempt(() => show(now)); return; }
  page = 0;
  if (["first", "second"].includes(event.target.name)) {
    if (systems()[0] === systems()[1]) {
      const other = field(event.target.name === "first" ? "second" : "first");
      other.value = [...other.options].map((option) => option.value).find((value) => value !== event.target.value);
    }
    [votes, seen, turned].forEach((each) => each.clear());
    attempt(figures);
  }
  attempt(list);
}
form.addEventListener("change", changed);
form.addEventListener("submit", (event) => event.preventDefault());
const leaf = (by) => attempt(() => { page += by; return list(); });
$("#earlier").addEventListener("click", () => leaf(-1));
$("#later").addEventListener("click", () => leaf(1));
$("#reveal").addEventListener("click", reveal);
document.querySelectorAll("[data-vote]").forEach((button) => button.addEventListener("click", () => vote(Number(button.dataset.vote))));
arrows($("#pairs"), (button) => attempt(() => show(pairs.find((pair) => key(pair) === button.dataset.pair))));

const KEYS = { a: () => vote(0), b: () => vote(1), t: () => vote(-1), r: reveal, n: () => attempt(() => step(1)), p: () => attempt(() => step(-1)) };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input[type=text], textarea, select, dialog[open]")) return;
  const does = KEYS[event.key.toLowerCase()];
  if (!does) return;
  event.preventDefault();
  does();
});

attempt(async () => {
  const answer = await call("/api/compare/systems");
  missing($("#nothing"), answer.nothing);
  const link = document.querySelector("header a[href='/vote']");
  $("#to-vote").hidden = !link;
  if (link) $("#to-vote a").href = link.href;
  if (answer.nothing) return;
  perPage = answer.page;
  options(field("first"), answer.systems);
  options(field("second"), answer.systems);
  const [first, second] = (new URLSearchParams(location.search).get("systems") || "").split(",").map(decodeURIComponent);
  field("first").value = answer.systems.includes(first) ? first : answer.systems[0];
  field("second").value = answer.systems.includes(second) && second !== field("first").value ? second : answer.systems.filter((each) => each !== field("first").value).at(-1);
  $("#all").hidden = false;
  await Promise.all([list(), figures()]);
});
