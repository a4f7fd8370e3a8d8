// Takes beside the real clip: a list of clips by page, searched and filtered by the server, and a wall that plays in step.
import { call } from "/static/api.js";
import { PlayerBar } from "/static/player_bar.js";
import { Wall, arrows, attempt, clickable, make, missing, number, options, plain } from "/static/wall.js";
import { shown } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);
const form = $("#filter");
const LINES = 8;  // scores under a take
const wall = new Wall();
new PlayerBar(wall).listen(attempt);
let page = 0;
let perPage = 50;
let group = "";
let turn = 0;

function filter() {
  const fields = Object.fromEntries(new FormData(form));
  const bound = (text) => (fields.metric && text !== "" ? Number(text) : null);
  return { ...fields, low: bound(fields.low), high: bound(fields.high), outcome: fields.judge ? fields.outcome : "", page };
}

// ---- the list ------------------------------------------------------------------------------------------------------

async function list(choose = true) {
  const mine = ++turn;
  const answer = await call("/api/takes/list", filter());
  if (mine !== turn) return;
  const { groups, total, range } = answer;
  form.querySelectorAll(".of-metric").forEach((label) => { label.hidden = !form.elements.metric.value; });
  form.querySelectorAll(".of-judge").forEach((label) => { label.hidden = !form.elements.judge.value; });
  if (range) [form.elements.low.placeholder, form.elements.high.placeholder] = range.map(number);
  const first = page * perPage;
  $("#count").textContent = total ? `${first + 1} to ${first + groups.length} of ${total} ${total === 1 ? "clip" : "clips"}` : "No takes match.";
  $("#earlier").disabled = page === 0;
  $("#later").disabled = first + groups.length >= total;
  $("#groups").replaceChildren(...groups.map((each) => {
    const line = make("li");
    const button = make("button");
    button.type = "button";
    button.dataset.group = each.group;
    button.append(make("span", each.caption || "No caption"), make("small", `${each.takes} ${each.takes === 1 ? "take" : "takes"}`));
    button.addEventListener("click", () => attempt(() => show(each.group)));
    line.append(button);
    return line;
  }));
  if (choose && groups.length) await show(groups.some((each) => each.group === group) ? group : groups[0].group);
  else mark();
  if (!groups.length) { wall.clear(); $("#wall").replaceChildren(); $("#caption").textContent = ""; }
}

function mark() {
  document.querySelectorAll("#groups button").forEach((button) => {
    if (button.dataset.group === group) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
}

// ---- takes of one clip ---------------------------------------------------------------------------------------------

const scoresOf = (scores) => {
  const metric = form.elements.metric.value;
  const names = Object.keys(scores).sort((a, b) => (b === metric) - (a === metric));
  return names.slice(0, LINES).map((name) => `${plain(name)} ${number(scores[name])}`);
};

const votesOf = (votes) => Object.entries(votes).map(([judge, [won, tied, lost]]) => `${judge}: won ${won}, tied ${tied}, lost ${lost}`);

async function show(name) {
  group = name;
  mark();
  const mine = turn;
  const answer = await call("/api/takes/group", { ...filter(), group: name });
  if (mine !== turn || group !== name) return;
  const playing = wall.playing;
  wall.clear();
  $("#caption").textContent = shown(answer.caption) || "No caption";
  $("#left-out").hidden = !answer.left_out;
  $("#left-out").textContent = `${answer.left_out} more takes are not shown; filter by system or score.`;
  const real = answer.real ? [figure(answer.real, "the real clip", scoresOf(answer.real.scores), "real")] : [];
  $("#wall").replaceChildren(...real, ...answer.takes.map((take) => {
    const parts = [take.system, `seed ${take.seed}`, take.kind !== "take" ? take.kind : "", take.eta !== undefined ? `from noise ${number(take.eta)}` : ""];
    return figure(take, parts.filter(Boolean).join(", "), [...scoresOf(take.scores), ...votesOf(take.votes)], take.inside ? "" : "out");
  }));
  wall.changed();
  if (playing) setTimeout(() => wall.play(), 300);
}

function figure(row, label, lines, name) {
  const figure = wall.cell({ section: "takes", item: row.id, side: "file", copy: "copy", clip: row, label });
  if (name) figure.classList.add(name);
  if (name === "out") figure.querySelector("figcaption").append(make("small", " (outside the filter)", "faint"));
  const list = make("ul");
  list.append(...lines.map((text) => make("li", text)));
  figure.append(list);
  return clickable(figure);
}

// ---- keys, buttons, coming in --------------------------------------------------------------------------------------

arrows($("#groups"), (button) => attempt(() => show(button.dataset.group)));

let soon = 0;
function changed() {
  clearTimeout(soon);
  page = 0;
  soon = setTimeout(() => attempt(list), 250);
}
form.addEventListener("input", changed);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(changed));
const turned = (by) => attempt(() => { page += by; return list(); });
$("#earlier").addEventListener("click", () => turned(-1));
$("#later").addEventListener("click", () => turned(1));

attempt(async () => {
  const choices = await call("/api/takes/choices");
  missing($("#nothing"), choices.nothing);
  if (choices.nothing) return;
  perPage = choices.page;
  options(form.elements.system, choices.systems, "all");
  options(form.elements.kind, choices.kinds, "all");
  options(form.elements.split, choices.splits, "all");
  options(form.elements.metric, choices.metrics, "any");
  options(form.elements.judge, choices.judges, "any");
  $("#all").hidden = false;
  await list();
});
