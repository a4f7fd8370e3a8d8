// Parts of the review page that are drawn from data: what is known of a clip, and the lists to choose from.
import { QUEUES } from "/static/queues.js";
import { shown, text } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);

export const REASONS = Array.from({ length: 9 }, (_, at) => text(`review.reason.${at + 1}`));

const make = (tag, words, name = "") => {
  const element = document.createElement(tag);
  element.textContent = shown(words);
  element.className = name;
  return element;
};
// At most three digits that tell something, and no exponent where one can do without.
const number = (value) => String(Math.abs(value) >= 1e6 ? value.toExponential(2) : Number(value.toPrecision(3)));

export function drawFacts(clip, caption, edited) {
  const { program, people, keep } = clip.said;
  $("#pane").className = keep ? "in" : "out";
  $("#verdict").replaceChildren(
    make("b", text(keep ? "review.in" : "review.out"), keep ? "in" : "out"),
    ` ${ofProgram(program, clip.values)}`,
  );
  $("#people").replaceChildren(...people.map((person) => make("li", ofPerson(person))));
  $("#caption").textContent = shown(caption) || text("review.caption.none");
  $("#caption").classList.toggle("none", !caption);
  $("#edited").hidden = !edited;
  $("#imported").hidden = clip.imported_caption === caption || !clip.imported_caption;
  $("#imported p").textContent = shown(clip.imported_caption);
  $("#source").textContent = shown(clip.source);
  const shape = text("review.shape", { width: clip.width_px, height: clip.height_px, seconds: (clip.frames / clip.fps).toFixed(1), fps: number(clip.fps) });
  $("#shape").textContent = clip.split === "eval" ? text("review.held.out", { shape }) : shape;
  drawValues(clip.values);
}

function ofProgram(program, values) {
  if (program && !program.keep) return text("review.by.program", { reason: program.reason });
  return text(program || values.length ? "review.by.program.kept" : "review.by.none");
}

function ofPerson({ by, keep, reason, caption }) {
  let decision = text(keep ? "review.kept" : "review.dropped", { name: by });
  if (reason) decision = text("review.because", { decision, reason });
  return caption ? text("review.own.caption", { decision }) : decision;
}

function drawValues(values) {
  $("#values-title").hidden = !values.length;
  $("#values tbody").replaceChildren(...values.map(({ name, value, low, high, out }) => {
    const row = make("tr", "", out ? "out" : "");
    const limit = [low !== null && text("review.from", { low: number(low) }), high !== null && text("review.to", { high: number(high) })].filter(Boolean).join(" ");
    row.append(make("th", name.replaceAll("_", " ").replace("/", ": ")), make("td", number(value)), make("td", out ? `✗ ${limit}` : limit, "faint"));
    return row;
  }));
}

$("#reasons").replaceChildren(...REASONS.map((reason, at) => {
  const line = document.createElement("li");
  const button = make("button", reason);
  button.type = "button";
  button.tabIndex = -1;
  button.dataset.reason = reason;
  button.prepend(make("kbd", String(at + 1)));
  line.append(button);
  return line;
}));

export function buildQueues(place, counts, current, chosen) {
  place.replaceChildren(...QUEUES.map(({ name, title }, at) => {
    const button = make("button", "");
    button.type = "button";
    const label = make("span", ` ${title}`);
    label.prepend(make("kbd", String(at + 1)));
    button.append(label, make("span", String(counts[name]), "faint"));
    button.setAttribute("aria-pressed", String(name === current));
    button.addEventListener("click", () => chosen(name));
    return button;
  }));
}

const sum = (counts, key) => counts.reduce((total, scenario) => total + (scenario[key] || 0), 0);

export function buildScenarios(table, counts, current, chosen) {
  table.hidden = !counts.some((scenario) => scenario.name);
  const keys = ["wanted", "in_footage", "in_set", "by_people", "missing"];
  const all = { name: null, ...Object.fromEntries(keys.map((key) => [key, sum(counts, key)])) };
  table.querySelector("tbody").replaceChildren(...[all, ...counts].map((scenario) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    const button = make("button", scenario.name === null ? text("scenario.all") : scenario.name || text("scenario.none"));
    button.type = "button";
    button.setAttribute("aria-pressed", String(scenario.name === current));
    button.addEventListener("click", () => chosen(scenario.name));
    head.append(button);
    const full = scenario.wanted && !scenario.missing;
    const missing = full ? text("scenario.full") : scenario.wanted ? scenario.missing : "–";
    row.append(head, ...[scenario.wanted || "–", scenario.in_footage, scenario.in_set, scenario.by_people].map((value) => make("td", String(value))));
    row.append(make("td", String(missing), full ? "full" : ""));
    return row;
  }));
}
