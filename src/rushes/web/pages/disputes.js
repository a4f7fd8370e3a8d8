// Pairs that people, or people and a program, see differently: the owner looks, sees who said what, and settles them.
import { call, video } from "/static/api.js";
import { buildGrid, drawGrid, partSeconds } from "/static/grid.js";
import { Marks } from "/static/marks.js";
import { Player } from "/static/player.js";
import { PlayerBar, REPEATED } from "/static/player_bar.js";
import { newEvent, note } from "/static/session.js";
import { fill } from "/static/tables.js";
import { shown, text } from "/static/text.js";
import { newFigure } from "/static/views.js";

const $ = (selector) => document.querySelector(selector);
const NO_SPANS = { dragged: () => {}, chosen: () => {} };

let queue = [];       // what is not settled yet, the one on the screen first
let settled = [];     // {pair, marks, event}, the last at the end
let total = 0;
let question = "";
let now = null;       // {pair, marks, seconds, revises}
let saving = false;
let figures = [];
let urls = [];
const player = new Player();
const bar = new PlayerBar(player, (share) => {
  document.querySelectorAll("#grid .head").forEach((head) => { head.style.left = `${100 * share}%`; });
});

async function load() {
  const answer = await call("/api/campaign/disputes");
  ({ total, question, pairs: queue } = answer);
  settled = answer.settled.map((pair) => ({ pair, labels: pair.labels, event: pair.event }));
  show();
}

const inWords = (labels) => labels.map((label) => text(`mark.${label}`)).join(" · ");

// The settled pairs to choose from, the last first.
function drawSettled() {
  const options = settled.map(({ pair, labels }, at) => new Option(`${pair.caption}: ${inWords(labels)}`, at)).reverse();
  $("#settled").replaceChildren(new Option(text("disputes.settled", { n: settled.length }), ""), ...options);
  $("#settled").hidden = !settled.length;
}

function show(again = null) {
  drawSettled();
  const pair = again ? again.pair : queue[0];
  $("#work").hidden = !pair;
  $("#done").hidden = Boolean(pair);
  $("#count").textContent = text("disputes.count", { n: total });
  now = null;
  if (!pair) return player.pause();
  const seconds = Math.min(...pair.clips.map((clip) => clip.frames / clip.fps));
  const parts = Array.from({ length: pair.segments }, (_, at) => partSeconds(at, pair.segments, seconds, pair.segment_s));
  now = { pair, seconds, marks: new Marks([question], parts, again ? { labels: { [question]: again.labels } } : {}), revises: again ? again.event : "" };
  $("#prompt").textContent = shown(pair.caption);
  const choose = (row, column) => { now.marks.choose(row, column); draw(); };
  buildGrid($("#grid"), { dimensions: [question], segment_s: pair.segment_s }, seconds, parts, choose, NO_SPANS, (second) => second);
  $("#grid .lane").hidden = $("#grid .lane-name").hidden = true;
  fill("#said", pair.said.map(({ who, person, labels }) => [person ? who : text("disputes.program", { who }), inWords(labels)]));
  draw();
  return play(pair);
}

function draw() { drawGrid($("#grid"), now.marks, now.seconds); }

async function play(pair) {
  figures.forEach((figure) => figure.remove());
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  figures = ["a", "b"].map((side) => newFigure(side, side.toUpperCase()));
  $("#panes").prepend(...figures);
  bar.views.use(figures, pair.clips);
  const loaded = await Promise.all(pair.clips.map((clip) => video("campaign", clip.id, "file").catch(() => "")));
  if (now?.pair !== pair) return loaded.forEach((url) => URL.revokeObjectURL(url));
  urls = loaded;
  const clips = pair.clips.map((clip, at) => ({ ...clip, url: urls[at] }));
  const shown = await player.load(figures.map((figure) => figure.querySelector("video")), clips);
  if (!shown) return undefined;
  if (shown.includes(false)) note(text("disputes.unplayable"));
  return player.play();
}

async function save() {
  if (!now || saving) return;
  const left = now.marks.empty();
  if (left) return note(text("note.missing", { n: left }));
  const { pair, marks, revises } = now;
  const labels = marks.labels()[question];
  const event = newEvent();
  saving = true;
  try {
    const [first, second] = pair.clips;
    await call("/api/campaign/settle", { left: first.id, right: second.id, segment_s: pair.segment_s, labels, event, revises });
  } finally {
    saving = false;
  }
  settled = [...settled.filter((each) => each.pair !== pair), { pair, labels, event }];
  if (!revises) {
    queue = queue.filter((each) => each !== pair);
    total -= 1;
  }
  if (!queue.length && total > 0) return load();
  show();
}

// The pair goes behind the others.
function later() {
  if (now && !now.revises) queue.push(queue.shift());
  show();
}

function undo() {
  if (now?.marks.undo()) return draw();
  const at = settled.findIndex((each) => each.pair === now?.pair);  // of settled pairs the one before
  const last = settled.at(at < 0 ? -1 : Math.max(0, at - 1));
  if (last) show(last);
}

function mark(value, shift) { now?.marks.mark(value, shift || now.pair.segments === 1); if (now) draw(); }
function move(columns) { now?.marks.move(0, columns); if (now) draw(); }

$("#settled").addEventListener("change", (event) => {
  const [chosen] = settled.splice(Number(event.target.value), 1);
  event.target.blur();
  settled.push(chosen);
  show(chosen);
});

const ACTS = { ...bar.acts, save, later, undo };
const KEYS = {
  ...bar.keys, ...bar.pairKeys,
  a: (shift) => mark(1, shift), b: (shift) => mark(-1, shift), t: (shift) => mark(0, shift), x: (shift) => mark(null, shift),
  u: undo, ArrowLeft: () => move(-1), ArrowRight: () => move(1), Enter: save, n: later,
};

const guarded = (act) => Promise.resolve().then(act).catch((error) => note(error.message));

document.addEventListener("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = KEYS[key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey || $("#change").open) return;
  if (event.target.closest("a, button") && [" ", "Enter"].includes(event.key)) return;
  event.preventDefault();
  if (bar.views.panned(event) || (event.repeat && !REPEATED.includes(key))) return;
  guarded(() => act(event.shiftKey));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act], #work [data-mark]:not(.cell)");
  if (!button) return;
  if (event.detail) button.blur();
  guarded(() => (button.dataset.act ? ACTS[button.dataset.act]() : mark(JSON.parse(button.dataset.mark), event.shiftKey)));
});

guarded(load);
