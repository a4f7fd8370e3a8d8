// Parts of the review page that are drawn from data: what is known of a clip, and the lists to choose from.
import { QUEUES } from "/static/queues.js";

const $ = (selector) => document.querySelector(selector);

export const REASONS = [
  "a cut inside", "text, a logo or a border", "poor picture", "hardly any motion", "too fast or too slow",
  "not real footage", "the caption is wrong", "another clip shows the same", "off topic",
];

const make = (tag, text, name = "") => {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
};
// At most three digits that tell something, and no exponent where one can do without.
const number = (value) => String(Math.abs(value) >= 1e6 ? value.toExponential(2) : Number(value.toPrecision(3)));

export function drawFacts(clip, caption, edited) {
  const { program, people, keep } = clip.said;
  $("#pane").className = keep ? "in" : "out";
  $("#verdict").replaceChildren(
    make("b", keep ? "In the set." : "Out.", keep ? "in" : "out"),
    ` ${program && !program.keep ? `The funnel dropped it: ${program.reason}.` : program || clip.values.length ? "The funnel kept it." : "No stage has looked at it."}`,
  );
  $("#people").replaceChildren(...people.map((one) =>
    make("li", `${one.by} ${one.keep ? "kept" : "dropped"} it${one.reason ? `: ${one.reason}` : ""}${one.caption ? ", with a caption of their own" : ""}`)));
  $("#caption").textContent = caption || "It has no caption.";
  $("#caption").classList.toggle("none", !caption);
  $("#edited").hidden = !edited;
  $("#imported").hidden = clip.imported_caption === caption || !clip.imported_caption;
  $("#imported p").textContent = clip.imported_caption;
  $("#source").textContent = clip.source;
  $("#shape").textContent = `${clip.width_px} × ${clip.height_px}, ${(clip.frames / clip.fps).toFixed(1)} s at ${number(clip.fps)} fps${clip.split === "eval" ? ", held out" : ""}`;
  drawValues(clip.values);
}

function drawValues(values) {
  $("#values-title").hidden = !values.length;
  $("#values tbody").replaceChildren(...values.map(({ name, value, low, high, out }) => {
    const row = make("tr", "", out ? "out" : "");
    const limit = [low !== null && `from ${number(low)}`, high !== null && `to ${number(high)}`].filter(Boolean).join(" ");
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

const sum = (counts, key) => counts.reduce((total, one) => total + (one[key] || 0), 0);

export function buildScenarios(table, counts, current, chosen) {
  table.hidden = !counts.some((one) => one.name);
  const keys = ["wanted", "in_footage", "in_set", "by_people", "missing"];
  const all = { name: null, ...Object.fromEntries(keys.map((key) => [key, sum(counts, key)])) };
  table.querySelector("tbody").replaceChildren(...[all, ...counts].map((one) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    const button = make("button", one.name === null ? "all scenarios" : one.name || "no scenario");
    button.type = "button";
    button.setAttribute("aria-pressed", String(one.name === current));
    button.addEventListener("click", () => chosen(one.name));
    head.append(button);
    const missing = one.wanted ? one.missing || "full" : "–";
    row.append(head, ...[one.wanted || "–", one.in_footage, one.in_set, one.by_people].map((value) => make("td", String(value))));
    row.append(make("td", String(missing), missing === "full" ? "full" : ""));
    return row;
  }));
}
