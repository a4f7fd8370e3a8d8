import { call, video } from "/static/api.js";
import { buildGrid, drawGrid, partSeconds } from "/static/grid.js";
import { Marks } from "/static/marks.js";
import { Outbox } from "/static/outbox.js";
import { Player } from "/static/player.js";
import { away, begin, drawControls, guarded, keepFor, newEvent, note, read, remove, screen, write } from "/static/session.js";

const $ = (selector) => document.querySelector(selector);
const DRAFT = "draft";

let me = null;       // what the server told of this person and project
let now = null;      // {item, marks, scores, revises, urls}
let ahead = null;    // the promise of the next pair, which loads meanwhile
let saving = false;
let looping = false; // the chosen part alone
let touched = Date.now();

const player = new Player([...document.querySelectorAll("#panes video")], drawTime);
const outbox = new Outbox("outbox", (body) => call("/api/label/save", body, away), sent, (_, error) => { throw error; });

// ---- pairs ---------------------------------------------------------------------------------------------------------

async function fetchPair(have) {
  const answer = await call("/api/label/next", { have }, away);
  count(answer);
  return answer.item && withVideos(answer.item);
}

async function withVideos(item) {
  const sides = ["a", "b", "real"].filter((side) => item.clips[side]);
  const urls = await Promise.all(sides.map((side) => video("label", item.id, side).catch(() => "")));
  return { ...item, sides, urls };
}

function lookAhead() {
  ahead = fetchPair([now.item.id]).catch(() => null);
}

function showPair(item, given) {
  if (now) now.item.urls.forEach((url) => URL.revokeObjectURL(url));
  if (!item) { now = null; return screen("done"); }
  const draft = !given && read(DRAFT);
  const start = given || (draft && draft.item === item.id ? draft : { labels: {}, scores: {} });
  const marks = new Marks(me.dimensions, item.segments, start.labels);
  now = { item, marks, scores: { ...start.scores }, revises: given ? given.event : "", rescored: false };
  looping = false;
  screen("work");
  $("#prompt").textContent = item.prompt;
  document.querySelectorAll("#panes figure").forEach((figure, index) => { figure.hidden = index >= item.sides.length; });
  buildGrid($("#grid"), me, item, (row, column) => { marks.choose(row, column); follow(true); });
  if (!given) marks.toEmpty();
  draw();
  play(item);  // not waited for: labels may be given while the clips load
}

async function play(item) {
  const loaded = await player.load(item.sides.map((side, index) => ({ ...item.clips[side], url: item.urls[index] })));
  if (!loaded) return;
  if (loaded.includes(false)) note("This browser cannot play one of the clips; X with Shift skips the pair.");
  player.play();
}

async function start() {
  me = await call("/api/label/me", undefined, away);
  keepFor(me);
  $("#project").textContent = me.project;
  $("#who").textContent = me.name;
  $("#scores").hidden = !me.scores;
  $("#whole-hint").hidden = me.segment_s === null;
  $("[data-act=loop]").hidden = me.segment_s === null;
  count(me);
  await outbox.flush().catch((error) => {  // what is refused is told and gone; the work goes on
    if (error.status === 401) throw error;
    note(error.message);
  });
  showPair(await fetchPair([]));
  if (now) lookAhead();
}

async function save() {
  if (!now || saving) return;
  const left = now.marks.empty();
  if (left) {
    now.marks.toEmpty();
    follow();
    return note(`${left} ${left === 1 ? "part has" : "parts have"} no label yet; X says that you cannot tell.`);
  }
  if (me.scores && Object.keys(now.scores).length < 2) {
    $(now.scores.a === undefined ? "#score-a" : "#score-b").focus();
    return note("Both clips want a score from 0 to 10; arrow keys change it.");
  }
  busy(true);
  outbox.add({ item: now.item.id, event: newEvent(), revises: now.revises, labels: now.marks.labels(), scores: now.scores });
  try {
    await outbox.flush();
    const corrected = Boolean(now.revises);
    const next = corrected ? await resumed() : await (ahead || fetchPair([]));
    // What was loaded ahead may have been refused; then ask once more, now that this desk has room.
    showPair(next || (await fetchPair([])));
    if (now) lookAhead();
  } catch (error) {
    if (error.status === 401) throw error;
    note(error.message);
  } finally {
    busy(false);
  }
}

// Keys do nothing until the next pair is there.
function busy(whether) {
  saving = whether;
  $("#work").setAttribute("aria-busy", String(whether));
}

// After a correction: the pair that was on the desk before.
async function resumed() {
  const kept = ahead && (await ahead);
  return kept && kept.id !== now.item.id ? kept : fetchPair([]);
}

function sent(answer, body) {
  count(answer);
  if (read(DRAFT)?.item === body.item) remove(DRAFT);
}

async function undo() {
  if (saving) return;
  if (now && now.marks.undo()) { keepDraft(); return follow(); }
  const answer = await call("/api/label/back", { item: now ? now.item.id : "" }, away);
  if (!answer.item) return note("There is nothing before this.");
  const held = now && !now.revises ? { ...now.item, urls: [] } : null;
  const item = await withVideos(answer.item);
  if (held) ahead = withVideos(held);
  showPair(item, answer.item);
  note("You labelled this pair before. Change it and press Enter, or press Enter to leave it.");
}

// ---- the screen ----------------------------------------------------------------------------------------------------

function count(facts) {
  if (facts.done === undefined) return;
  $("#count").textContent = `${facts.done} of ${facts.pairs} pairs by you, ${facts.open} by nobody yet`;
}

function partFrames(column) {
  const [from, to] = partSeconds(column, now.item.segments, player.frames / player.fps, me.segment_s);
  return [Math.round(from * player.fps), Math.max(Math.round(from * player.fps) + 1, Math.round(to * player.fps))];
}

// Draws the marks; where one part loops, playback goes to the chosen one.
function follow(jump = false) {
  const [from, to] = partFrames(now.marks.column);
  if (looping) player.loop(from, to);
  else player.loop(0, player.frames);
  if (jump) player.jump(from);
  draw();
}

function draw() {
  if (!now) return;
  const { marks } = now;
  drawGrid($("#grid"), marks);
  for (const side of ["a", "b"]) {
    const input = $(`#score-${side}`);
    const value = now.scores[side];
    input.value = value === undefined ? 5 : value;
    input.nextElementSibling.textContent = value === undefined ? "–" : value;
  }
  $("[data-act=loop]").setAttribute("aria-pressed", String(looping));
  $("#save").style.opacity = marks.empty() ? ".55" : "1";
  drawTime();
}

function drawTime() {
  if (!now || !player.clips) return;
  const share = drawControls(player);
  document.querySelectorAll("#grid .head").forEach((head) => { head.style.left = `${100 * share}%`; });
}

// ---- keys and buttons ----------------------------------------------------------------------------------------------

function mark(value, wholeRow) {
  if (saving) return;
  now.marks.mark(value, wholeRow || now.item.segments === 1);
  keepDraft();
  follow();
}

function nextScore() {
  if (!me.scores) return;
  if (document.activeElement === $("#score-a")) $("#score-b").focus();
  else if (document.activeElement === $("#score-b")) $("#score-b").blur();
  else $("#score-a").focus();
}

const ACTS = {
  toggle: () => player.toggle(),
  back: () => player.step(-1),
  forward: () => player.step(1),
  loop: () => { looping = !looping; follow(); },
  speed: () => player.faster(1, true),
  undo, save,
  help: () => $("#help").showModal(),
};
const move = (rows, columns) => () => { now.marks.choose(now.marks.row + rows, now.marks.column + columns); follow(looping); };
const KEYS = {
  a: (shift) => mark(1, shift), b: (shift) => mark(-1, shift), t: (shift) => mark(0, shift), x: (shift) => mark(null, shift),
  " ": ACTS.toggle, ",": ACTS.back, ".": ACTS.forward, l: ACTS.loop, u: undo, Backspace: undo, Enter: save,
  ArrowLeft: move(0, -1), ArrowRight: move(0, 1), ArrowUp: move(-1, 0), ArrowDown: move(1, 0),
  "-": () => player.faster(-1), "+": () => player.faster(1), "=": () => player.faster(1), s: nextScore,
};
const NO_PAIR = ["u", "Backspace"];     // work without a pair on the desk
const NO_REPEAT = ["a", "b", "t", "x", "u", "l", "Enter"];  // once for each press, however long

document.addEventListener("keydown", (event) => {
  touched = Date.now();
  if (event.ctrlKey || event.metaKey || event.altKey || $("#help").open || !$("#welcome").hidden || !me) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;  // Caps Lock is not Shift
  if (key === "?" || key === "h") { event.preventDefault(); return ACTS.help(); }
  const scoring = event.target.type === "range" && key.startsWith("Arrow");
  if (scoring || !(key in KEYS) || (!now && !NO_PAIR.includes(key))) return;
  event.preventDefault();
  if (!event.repeat || !NO_REPEAT.includes(key)) guarded(() => KEYS[key](event.shiftKey));
});

document.addEventListener("click", (event) => {
  touched = Date.now();
  const button = event.target.closest("button[data-act], footer button[data-mark]");
  if (!button) return;
  button.blur();  // so that Space and Enter stay keys of the page
  if (button.dataset.act) guarded(ACTS[button.dataset.act]);
  else guarded(() => mark(JSON.parse(button.dataset.mark), event.shiftKey));
});

for (const side of ["a", "b"]) {
  $(`#score-${side}`).addEventListener("input", (event) => {
    now.scores[side] = Number(event.target.value);
    keepDraft();
    draw();
  });
}

// ---- what this browser keeps ---------------------------------------------------------------------------------------

function keepDraft() {
  if (now.revises) return;
  // JSON has no word for "not marked": a hole in the list says it.
  const labels = Object.fromEntries(Object.entries(now.marks.labels()).map(([name, values]) => [name, { ...values }]));
  write(DRAFT, { item: now.item.id, labels, scores: now.scores });
}

setInterval(() => {
  if (me && now && Date.now() - touched < me.lease_s * 1000) call("/api/label/renew", {}, away).catch(() => {});
}, 60_000);

begin(start);
