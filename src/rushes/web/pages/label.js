import { call, video } from "/static/api.js";
import { explain, Guide, proposed } from "/static/guide.js";
import { buildGrid, drawGrid, partSeconds, spanText } from "/static/grid.js";
import { Marks } from "/static/marks.js";
import { OwnLabels } from "/static/mine.js";
import { Outbox } from "/static/outbox.js";
import { Player } from "/static/player.js";
import { PlayerBar, REPEATED } from "/static/player_bar.js";
import { rankByDragging } from "/static/rank_drag.js";
import { drawRanking, drawTie, Ranking } from "/static/ranks.js";
import { away, begin, guarded, keepFor, newEvent, note, read, remove, screen, write } from "/static/session.js";
import { Stopwatch } from "/static/stopwatch.js";
import { shown, text } from "/static/text.js";
import { newFigure } from "/static/views.js";

const $ = (selector) => document.querySelector(selector);
const all = (selector) => document.querySelectorAll(selector);
const SECTION = document.body.dataset.section, API = `/api/${SECTION}`;  // label, or vote
const DRAFT = "draft", CORRECTION = "correction";  // what was begun of a new pair, and of one that was labelled
const SIDES = ["a", "b", "c", "d", "e", "f"];

let me = null;       // what the server told of this person and project
let now = null;      // {item, marks or ranking, scores, note, plays, revises}
let ahead = null;    // the promise of the next pair, which loads meanwhile
let saving = false;
let looping = false; // the chosen part alone
let begun = null;    // second at which a span was begun by keyboard
let lesson = null;   // what the key says of the pair of practice that was answered
let proposal = "";   // what a judge says of the pair before
let touched = Date.now();
let figures = new Map(); // side -> figure

const player = new Player();
const bar = new PlayerBar(player, drawHeads);
const { views } = bar;
const watch = new Stopwatch();
const mine = new OwnLabels((item) => revisit(call(`${API}/open`, { item }, away)));
const guide = new Guide();
const outbox = new Outbox("outbox", (body) => call(`${API}/save`, body, away), sent, (_, error) => { throw error; });

// ---- pairs ---------------------------------------------------------------------------------------------------------

async function fetchPair(have) {
  const answer = await call(`${API}/next`, { have }, away);
  count(answer);
  $("#code").hidden = !answer.code;
  if (answer.code) $("#code").textContent = text("done.code", answer);
  return answer.item && withVideos(answer.item);
}

async function withVideos(item) {
  const sides = [...SIDES, "real"].filter((side) => item.clips[side]);
  const urls = await Promise.all(sides.map((side) => video(SECTION, item.id, side).catch(() => "")));
  return { ...item, sides, urls };
}

function lookAhead() {
  ahead = fetchPair([now.item.id]).catch(() => null);
}

function showPair(item, given) {
  if (now) now.item.urls.forEach((url) => URL.revokeObjectURL(url));
  if (!item) { now = null; return screen("done"); }
  const draft = draftOf(item, given);
  if (draft.segments && !item.practice) item = { ...item, segment_s: draft.segment_s, segments: draft.segments };
  const start = { ...given, ...draft };
  const takes = item.sides.filter((side) => side !== "real");
  const seconds = Math.min(...takes.map((side) => item.clips[side].frames / item.clips[side].fps));
  const partTimes = Array.from({ length: item.segments }, (_, at) => partSeconds(at, item.segments, seconds, item.segment_s));
  now = {
    item, takes, seconds,
    marks: item.ranks ? null : new Marks(item.dimensions, partTimes, start),
    ranking: item.ranks ? new Ranking(takes, start) : null,
    scores: { ...start.scores }, note: start.remarks?.note || "", before: start.remarks?.plays || 0,
    revises: given ? given.event : "",
  };
  watch.restart(start.remarks?.seconds || 0);
  looping = false;
  begun = null;
  screen("work");
  buildScreen(item, partTimes);
  if (!given || draft.item) now.marks?.toEmpty();
  draw();
  play(item);  // not waited for: labels may be given while the clips load
}

// What this browser keeps of an answer that was begun and not sent, in the parts that it was begun in; {} = nothing.
function draftOf(item, given) {
  const draft = read(given ? CORRECTION : DRAFT);
  if (draft?.item !== item.id || (given && draft.revises !== given.event)) return {};
  const there = (words) => words.filter((word) => item.reasons.includes(word));
  const { reasons, spans } = draft.remarks;
  const remarks = { ...draft.remarks, reasons: reasons.map(there), spans: spans?.map((span) => ({ ...span, reasons: there(span.reasons) })) };
  return { ...draft, remarks };
}

function buildScreen(item, partTimes) {
  $("#work").dataset.form = item.ranks ? "ranks" : "pairs";
  $("#prompt").textContent = shown(item.prompt);
  $("#practice").hidden = !item.practice;
  if (item.practice) $("#practice").textContent = text("practice", item.practice);
  $("#note-text").value = now.note;
  $("#grid").hidden = item.ranks;
  $("#ranking").hidden = !item.ranks;
  $("#scores").hidden = !item.scored || item.ranks;
  $("#whole").hidden = item.segment_s === null;
  $("[data-act=loop]").hidden = item.segment_s === null || item.ranks;
  buildReasons(item.reasons);
  buildPanes(item);
  buildBroken(item.sides.filter((side) => side !== "real"));
  if (item.ranks) return;
  const snap = (second) => Math.round(second * item.clips.a.fps) / item.clips.a.fps;
  buildGrid($("#grid"), item, now.seconds, partTimes, (row, column) => { now.marks.choose(row, column); follow(true); }, {
    dragged: (from, to) => { now.marks.addSpan(from, to); follow(true); },
    chosen: (at) => { now.marks.chooseSpan(at); follow(true); },
  }, snap);
}

// Figures are kept from pair to pair, as long as the pairs have the same sides.
function buildPanes(item) {
  if ([...figures.keys()].join() !== item.sides.join()) {
    figures.forEach((figure) => figure.remove());
    figures = new Map(item.sides.map((side) => [side, figureOf(side, item.ranks)]));
    $("#panes").prepend(...figures.values());
    $("#panes").style.setProperty("--across", String(Math.min(3, Math.ceil(item.sides.length / 2) || 1)));
    if (item.ranks && views.mode !== "side") views.set("side");
  }
  views.use([...figures.values()], item.sides.map((side) => item.clips[side]));
}

function figureOf(side, ranks) {
  const figure = newFigure(side, side === "real" ? text("side.real") : side.toUpperCase());
  if (!ranks || side === "real") return figure;
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.dataset.rank = side;
  figure.querySelector("figcaption").replaceWith(button);
  return figure;
}

function buildBroken(takes) {
  $("#broken").replaceChildren(...takes.map((side) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: side });
    button.dataset.broken = side;
    button.textContent = text("broken", { side: side.toUpperCase() });
    return button;
  }));
}

async function play(item) {
  const videos = item.sides.map((side) => figures.get(side).querySelector("video"));
  const clips = item.sides.map((side, index) => ({ ...item.clips[side], url: item.urls[index] }));
  const loaded = await player.load(videos, clips, now.takes.length);
  if (!loaded) return;
  if (loaded.includes(false)) note(text("note.unplayable"));
  player.play();
}

async function start() {
  me = await call(`${API}/me`, undefined, away);
  keepFor(me);
  $("#project").textContent = me.project;
  $("#who").textContent = me.name;
  count(me);
  if (SECTION === "label") await guide.start();
  await outbox.flush().catch((error) => {  // what is refused is told and gone; the work goes on
    if (error.status === 401) throw error;
    note(error.message);
  });
  if (!(await takenUp())) await freshPair();
}

async function freshPair() {
  showPair(await fetchPair([]));
  if (now) lookAhead();
}

// A correction that was begun before the page was loaded anew.
async function takenUp() {
  const draft = read(CORRECTION);
  const answer = draft && (await call(`${API}/open`, { item: draft.item }, away).catch(() => null));
  if (answer?.item.event !== draft?.revises) remove(CORRECTION);
  if (!read(CORRECTION)) return false;
  ahead = fetchPair([]).catch(() => null);
  showPair(await withVideos(answer.item), answer.item);
  note(text("note.again"));
  return true;
}

function buildReasons(reasons) {
  const buttons = reasons.map((word, at) => {
    const [button, cap] = [document.createElement("button"), document.createElement("kbd")];
    button.type = "button";
    button.dataset.reason = word;
    cap.textContent = String(at + 1);
    button.append(cap, ` ${word}`);
    return button;
  });
  $("#reasons").replaceChildren($("#reasons-of"), ...buttons);
  $("#reasons").hidden = !reasons.length;
}

// What is not said yet, as a text; "" where all is.
function missing() {
  if (now.ranking) {
    const sides = now.ranking.left().filter((side) => !now.ranking.state.broken.includes(side));
    return sides.length && !now.rest ? text("note.unplaced", { n: sides.length, sides: sides.join(", ").toUpperCase() }) : "";
  }
  if (views.single() && views.unseen()) return text("note.side", { side: views.unseen().toUpperCase() });
  now.marks.unjudgedWhereBroken();
  const left = now.marks.empty();
  if (left) {
    now.marks.toEmpty();
    follow();
    return text("note.missing", { n: left });
  }
  if (!now.item.scored || Object.keys(now.scores).length === 2) return "";
  $(now.scores.a === undefined ? "#score-a" : "#score-b").focus();
  return text("note.scores");
}

function remarks() {
  const remarks = (now.marks || now.ranking).remarks();
  return { ...remarks, note: now.note.trim(), seconds: watch.read(), plays: now.before + (player.plays || 0) };
}

async function save() {
  if (!now || saving) return;
  const lacks = missing();
  if (lacks) return note(lacks);
  const body = { item: now.item.id, event: newEvent(), revises: now.revises, remarks: remarks() };
  if (now.item.play_first && !body.remarks.plays && !body.remarks.broken.length) return note(text("note.play"));
  if (now.ranking) body.ranking = now.ranking.state.places;
  else Object.assign(body, { labels: now.marks.labels(), scores: now.item.scored ? now.scores : {}, segment_s: now.item.segment_s });
  busy(true);
  outbox.add(body);
  try {
    lesson = null;
    proposal = "";
    await outbox.flush();
    if (lesson) await explain(lesson);
    const corrected = Boolean(now.revises);
    const next = corrected ? await resumed() : await (ahead || fetchPair([]));
    // What was loaded ahead may have been refused; then ask once more, now that fewer pairs are open.
    showPair(next || (await fetchPair([])));
    if (now) lookAhead();
    if (proposal) note(proposal, true);
  } catch (error) {
    if (error.status === 401) throw error;
    await goOn().catch(() => {});
    note(error.message, true);
  } finally {
    busy(false);
  }
}

// After an answer that was refused: the pair as it is asked now, with what was said of it, or another where it is gone.
async function goOn() {
  if (!now.revises) return freshPair();
  const { item } = await call(`${API}/open`, { item: now.item.id }, away);
  return showPair(await withVideos(item), item);
}

// Keys do nothing until the next pair is there.
function busy(whether) {
  saving = whether;
  $("#work").setAttribute("aria-busy", String(whether));
}

// After a correction: the pair that was open before.
async function resumed() {
  const waiting = ahead && (await ahead);
  return waiting && waiting.id !== now.item.id ? waiting : fetchPair([]);
}

function sent(answer, body) {
  count(answer);
  lesson = answer.lesson || null;
  proposal = answer.proposal ? proposed(me.proposal, answer.proposal) : "";
  for (const key of [DRAFT, CORRECTION]) if (read(key)?.item === body.item) remove(key);
}

async function undo() {
  if (saving) return;
  if (now && (now.marks || now.ranking).undo()) { keepDraft(); return follow(); }
  await revisit(call(`${API}/back`, { item: now ? now.item.id : "" }, away));
}

// Opens a pair that was labelled before; the one that is open waits.
async function revisit(asked) {
  if (saving) return undefined;
  const answer = await asked;
  if (!answer.item) return note(text("note.first"));
  const held = now && !now.revises ? { ...now.item, urls: [] } : null;
  const item = await withVideos(answer.item);
  if (held) ahead = withVideos(held);
  showPair(item, answer.item);
  note(text("note.again"));
}

// ---- the screen ----------------------------------------------------------------------------------------------------

function count(facts) {
  const words = SECTION === "vote" ? "vote.count" : me.quota ? "count.quota" : "count";
  if (facts.done !== undefined) $("#count").textContent = text(words, { ...facts, quota: me.quota });
}

// First frame of what is chosen, a part or a span, and the frame after its last.
function chosenFrames() {
  const { marks } = now;
  const span = marks.span === null ? null : marks.state.spans[marks.span];
  const [from, to] = span ? [span.start_s, span.end_s] : marks.partTimes[marks.column];
  const first = Math.round(from * player.fps);
  return [first, Math.max(first + 1, Math.round(to * player.fps))];
}

// Draws the marks; where one part loops, playback goes to the chosen one.
function follow(jump = false) {
  if (now.marks && player.clips) {
    const [from, to] = chosenFrames();
    if (looping) player.loop(from, to);
    else player.loop(0, player.frames);
    if (jump) player.jump(from);
  }
  draw();
}

function draw() {
  if (!now) return;
  if (now.marks) drawPair();
  else {
    drawRanking($("#ranking"), figures, now.ranking);
    drawTie($("[data-act=tie]"), now.ranking);
    const places = now.ranking.state.places.map((sides, at) => text("rank.order", { n: at + 1, sides: sides.join(", ").toUpperCase() }));
    $("#chosen").textContent = places.join("; ");
  }
  drawRemarks();
  $("#save").classList.toggle("strong", !(now.marks ? now.marks.empty() : now.ranking.left().length));
}

function drawPair() {
  drawGrid($("#grid"), now.marks, now.seconds);
  for (const side of ["a", "b"]) {
    const input = $(`#score-${side}`);
    const value = now.scores[side];
    input.value = value === undefined ? 5 : value;
    input.nextElementSibling.textContent = value === undefined ? "–" : value;
  }
  $("[data-act=loop]").setAttribute("aria-pressed", String(looping));
  const chosen = $("#grid .span.on, #grid .cell.on");
  if (chosen) $("#chosen").textContent = chosen.getAttribute("aria-label");
}

function drawRemarks() {
  const pressed = (button, on) => button.setAttribute("aria-pressed", String(on));
  const { state } = now.marks || now.ranking;
  const reasons = (now.marks || now.ranking).chosenReasons();
  all("[data-reason]").forEach((button) => pressed(button, reasons.includes(button.dataset.reason)));
  all("[data-broken]").forEach((button) => pressed(button, state.broken.includes(button.dataset.broken)));
  all("[data-strength]").forEach((button) => pressed(button, state.strength === button.dataset.strength));
  $("#reasons-of").textContent = reasonsOf();
}

// Which part, span or take the reasons are of.
function reasonsOf() {
  if (now.ranking) return now.ranking.last ? text("reasons.of.take", { side: now.ranking.last.toUpperCase() }) : "";
  const { marks } = now;
  const span = marks.span === null ? null : marks.state.spans[marks.span];
  const columns = marks.targets();
  if (!span && columns.length === marks.parts) return text("reasons.of", { span: text("whole") });
  const [from, to] = span ? [span.start_s, span.end_s] : [marks.partTimes[columns[0]][0], marks.partTimes[columns.at(-1)][1]];
  return text("reasons.of", { span: spanText(from, to) });
}

function drawHeads(share) { all("#grid .head").forEach((head) => { head.style.left = `${100 * share}%`; }); }

// ---- keys and buttons ----------------------------------------------------------------------------------------------

// Changes what is said, keeps it, draws it.
function change(act) {
  if (saving || !now) return;
  act(now.marks || now.ranking);
  keepDraft();
  follow();
}

// The next mark is of the whole clip: for who has no Shift at hand.
function whole(pressed) { $("#whole").setAttribute("aria-pressed", String(pressed)); }

function mark(value, shift) {
  const wholeRow = shift || $("#whole").getAttribute("aria-pressed") === "true";
  whole(false);
  change((marks) => marks.mark(value, wholeRow || (now.item.segments === 1 && marks.span === null)));
}

const reason = (word) => { if (word) change((answer) => answer.toggleReason(word)); };
const strength = (word) => { if (now.marks) change((marks) => marks.setStrength(word)); };
const ranked = (act) => change((ranking) => { now.rest = false; act(ranking); });
const rank = (side, tie) => ranked((ranking) => ranking.toggle(side, tie || ranking.tie));

// The take that a part of the screen stands for, "" where it is none that could be ranked now.
function takeAt(element) {
  if (!now?.ranking || saving) return "";
  const pane = views.zoom.scale === 1 && element.closest("#panes figure:not(.real)");
  return element.closest("[data-rank]")?.dataset.rank || (pane ? pane.className : "");
}
rankByDragging($("#work"), $("#ranking"), takeAt, (side, target) => ranked((ranking) => ranking.put(side, target)));

function nextScore() {
  if (!now.marks || !now.item.scored) return;
  if (document.activeElement === $("#score-a")) $("#score-b").focus();
  else if (document.activeElement === $("#score-b")) $("#score-b").blur();
  else $("#score-a").focus();
}

function beginSpan() { begun = player.frame / player.fps; }

// A span from the frame at which it was begun to the one that is on the screen.
function endSpan() {
  const end = (player.frame + 1) / player.fps;
  const from = begun === null ? 0 : begun;
  begun = null;
  if (end > from) change((marks) => marks.addSpan(from, Math.min(end, now.seconds)));
}

function side() {
  begun = null;
  if (now.marks) now.marks.span = null;
  views.set("side");
  draw();
}

const ACTS = {
  ...bar.acts,
  loop: () => { if (now.marks) { looping = !looping; follow(); } },
  mine: () => mine.open(me.reasons),
  guide: () => guide.open(),
  tie: () => { now.ranking.tie = !now.ranking.tie; draw(); },
  whole: () => whole($("#whole").getAttribute("aria-pressed") !== "true"),
  rest: () => { now.rest = true; return save(); },
  clear: () => change((ranking) => ranking.clear()),
  undo, save,
  help: () => $("#help").showModal(),
};
const move = (rows, columns) => () => {
  if (now.ranking) return columns ? ranked((ranking) => ranking.move(columns)) : undefined;
  now.marks.move(rows, columns);
  return follow(looping);
};
const KEYS = {
  ...bar.keys, u: undo, Backspace: undo, Enter: save, y: ACTS.mine, g: ACTS.guide,
  ArrowLeft: move(0, -1), ArrowRight: move(0, 1), ArrowUp: move(-1, 0), ArrowDown: move(1, 0),
  s: nextScore, Escape: side, p: () => $("#note-text").focus(),
};
const PAIR_KEYS = {
  ...KEYS, ...bar.pairKeys,
  a: (shift) => mark(1, shift), b: (shift) => mark(-1, shift), t: (shift) => mark(0, shift), x: (shift) => mark(null, shift),
  m: () => strength("much"), n: () => strength("slightly"), q: () => change((marks) => marks.nextBroken()),
  l: ACTS.loop, i: beginSpan, "[": beginSpan, o: endSpan, "]": endSpan,
  Delete: () => { if (now.marks.span !== null) change((marks) => marks.removeSpan()); },
};
const RANK_KEYS = { ...KEYS, t: ACTS.tie, x: ACTS.rest };
const NO_PAIR = ["u", "Backspace", "y", "g"];     // work without an open pair
const HELD = [...REPEATED, "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];  // act as long as they are held

function actOf(key) {
  if (/^[1-9]$/.test(key)) return () => reason(now?.item.reasons[Number(key) - 1]);
  if (now?.ranking && now.takes.includes(key)) return (shift) => rank(key, shift);
  return (now?.ranking ? RANK_KEYS : PAIR_KEYS)[key];
}

document.addEventListener("keydown", (event) => {
  touched = Date.now();
  const elsewhere = document.querySelector("dialog[open]") || !$("#welcome").hidden;
  if (event.ctrlKey || event.metaKey || event.altKey || elsewhere || !me) return;
  if (event.target.id === "note-text") {
    if (["Enter", "Escape"].includes(event.key)) { event.preventDefault(); event.target.blur(); }
    return;
  }
  const digit = /^Digit([1-9])$/.exec(event.code)?.[1];  // where the row of digits has other signs unshifted
  const key = digit || (event.key.length === 1 ? event.key.toLowerCase() : event.key);  // Caps Lock is not Shift
  if (key === "?" || key === "h") { event.preventDefault(); return ACTS.help(); }
  const act = actOf(key);
  const scoring = event.target.type === "range" && key.startsWith("Arrow");
  const pressing = event.target.closest("#work button") && [" ", "Enter"].includes(key);  // reached by Tab
  if (scoring || pressing || !act || (!now && !NO_PAIR.includes(key))) return;
  event.preventDefault();
  if (views.panned(event)) return undefined;
  if (!event.repeat || HELD.includes(key)) guarded(() => act(event.shiftKey));
});

document.addEventListener("click", (event) => {
  touched = Date.now();
  const button = event.target.closest("[data-act], [data-mark], [data-reason], [data-strength], [data-broken], [data-rank]");
  const take = !button && takeAt(event.target);
  if (take) return guarded(() => rank(take, event.shiftKey));
  if (!button || button.matches("#grid *")) return;
  if (event.detail) button.blur();  // of a mouse: so that Space and Enter stay keys of the page
  const { act, mark: value, reason: word, strength: much, broken, rank: place } = button.dataset;
  if (act) guarded(ACTS[act]);
  else if (value) guarded(() => mark(JSON.parse(value), event.shiftKey));
  else if (word) guarded(() => reason(word));
  else if (much) guarded(() => strength(much));
  else if (broken) guarded(() => change((answer) => answer.toggleBroken(broken)));
  else guarded(() => rank(place, event.shiftKey));
});

for (const side of ["a", "b"]) {
  $(`#score-${side}`).addEventListener("input", (event) => {
    now.scores[side] = Number(event.target.value);
    keepDraft();
    draw();
  });
}

$("#note-text").addEventListener("input", (event) => {
  if (!now) return;
  now.note = event.target.value;
  keepDraft();
});

// ---- what this browser keeps ---------------------------------------------------------------------------------------

function keepDraft() {
  const draft = { item: now.item.id, revises: now.revises, scores: now.scores, remarks: remarks() };
  // JSON has no word for "not marked": a hole in the list says it.
  if (now.marks) {
    Object.assign(draft, { segment_s: now.item.segment_s, segments: now.item.segments });
    draft.labels = Object.fromEntries(Object.entries(now.marks.labels()).map(([name, values]) => [name, { ...values }]));
  } else Object.assign(draft, { ranking: now.ranking.state.places, reasonsOf: now.ranking.state.reasons });
  write(now.revises ? CORRECTION : DRAFT, draft);
}

setInterval(() => {
  if (me && now && Date.now() - touched < me.lease_s * 1000) call(`${API}/renew`, {}, away).catch(() => {});
}, 60_000);

begin(start);
