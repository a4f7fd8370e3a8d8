import { call } from "/static/api.js";
import { ClipVideo, forget, loading } from "/static/clip_video.js";
import { Outbox } from "/static/outbox.js";
import { Player } from "/static/player.js";
import { PlayerBar, REPEATED } from "/static/player_bar.js";
import { QUEUES } from "/static/queues.js";
import { buildQueues, buildScenarios, drawFacts, REASONS } from "/static/review_parts.js";
import { away, begin, guarded, keepFor, newEvent, note, read, remove, screen, write } from "/static/session.js";
import { text } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);
const DRAFT = "review-draft";
const UNDO = "review-undo";
const UNDO_KEPT = 200;

let me = null;        // what the server told of this person and project, with the newest counts
let now = null;       // {clip, text}: the clip that is shown, and the caption as it stands on the page
let queue = "undecided";
let scenario = null;  // null = all
let ahead = [];       // promises of clips that load meanwhile, each with its video
let last = "";        // id of the clip of the queue that was asked for last
let before = [];      // ids of clips that were shown before this one
let behind = [];      // ids of clips from which one went back

const player = new Player();
const bar = new PlayerBar(player, (share) => { $("#head").style.left = `${100 * share}%`; });
const showing = new ClipVideo(player, $("#pane video"), $("#pane .broken"));
const outbox = new Outbox("review-outbox", (body) => call("/api/review/save", body, away), counted, refused);

// ---- clips ---------------------------------------------------------------------------------------------------------

function counted(answer) {
  Object.assign(me, { decided: answer.decided, queues: answer.queues, scenarios: answer.scenarios, people: answer.people });
  drawCount();
}

async function deal(count) {
  const answered = outbox.waiting().map((body) => body.clip);  // the server may not know it yet
  const held = [now && now.clip.id, ...ahead.map((entry) => entry.id), ...answered].filter(Boolean).slice(0, 2 * me.ahead);
  const answer = await call("/api/review/deal", { queue, scenario, after: last, have: held, count }, away);
  counted(answer);
  answer.clips.forEach((clip) => { last = clip.id; });
  return answer.clips.map(loading);
}

let refilling = null;
function refill() {
  refilling ||= deal(me.ahead).then((dealt) => { ahead.push(...dealt); }).catch(() => {}).finally(() => { refilling = null; });
  return refilling;
}

async function show(entry) {
  if (!entry) { now = null; player.pause(); drawRest(); return screen("done"); }
  const { clip } = entry;
  const draft = read(DRAFT);
  now = { clip, text: draft && draft.clip === clip.id ? draft.caption : standingCaption(clip) };
  closeEditor();
  screen("work");
  draw();
  showing.play(entry);
}

async function fetched(id) {
  await outbox.flush();
  return loading((await call("/api/review/clip", { clip: id }, away)).clip);
}

async function next() {
  if (now) { before.push(now.clip.id); }
  if (behind.length) return show(await fetched(behind.pop()));
  if (!ahead.length) await emptied();
  show(ahead.shift());
  if (ahead.length < 2) refill();
}

// What was asked for before the last answers were on disk may hold the clips they are about once more.
async function emptied() {
  await outbox.flush().catch(() => {});
  if (refilling) await refilling;
  if (!ahead.length) await refill();
}

async function previous() {
  const id = before.length ? before.pop() : await backFrom(now ? now.clip.id : "");
  if (!id) return note(text("note.first"));
  if (now) behind.push(now.clip.id);
  await show(await fetched(id));
}

async function backFrom(id) {
  await outbox.flush();
  const answer = await call("/api/review/back", { clip: id }, away);
  return answer.clip && answer.clip.id;
}

// From the beginning of a queue, of a scenario or of all.
async function restart(queueName, scenarioName) {
  await outbox.flush();
  if (refilling) await refilling;
  forget(ahead);
  [queue, scenario, last, ahead, behind] = [queueName, scenarioName, "", [], []];
  if (now) before.push(now.clip.id);
  now = null;
  await refill();
  show(ahead.shift());
  if (ahead.length < 2) refill();
}

// What the contact sheet opens: a clip, and behind it those that follow in its queue.
async function openClip(id) {
  last = id;
  await show(await fetched(id));
  refill();
}

// ---- answers -------------------------------------------------------------------------------------------------------

const mine = (clip) => clip.said.people.find((person) => person.by === me.name) || null;
const lastPerson = (clip) => clip.said.people[clip.said.people.length - 1] || null;
const standingCaption = (clip) => lastPerson(clip)?.caption || clip.caption;

function answer(keep, reason = "") {
  const { clip, text: caption } = now;
  const own = mine(clip);
  remember({ clip: clip.id, was: own && { keep: own.keep, reason: own.reason, caption: own.caption } });
  send(clip, { keep, reason, caption: caption === clip.caption ? "" : caption });
  if (read(DRAFT)?.clip === clip.id) remove(DRAFT);
  return next();
}

function send(clip, decision) {
  outbox.add({ clip: clip.id, event: newEvent(), revises: clip.said.revises, reason: "", caption: "", ...decision });
  outbox.flush().catch(() => {});
}

async function refused(body, error) {
  note(error.message);
  unremember(body.clip);
  if (now && now.clip.id !== body.clip) behind.push(now.clip.id);
  await show(loading((await call("/api/review/clip", { clip: body.clip }, away)).clip));
}

function remember(step) { write(UNDO, [...(read(UNDO) || []), step].slice(-UNDO_KEPT)); }
function unremember(id) { write(UNDO, (read(UNDO) || []).filter((step) => step.clip !== id)); }

async function undo() {
  const steps = read(UNDO) || [];
  const step = steps.pop();
  if (!step) return previousDecided();
  write(UNDO, steps);
  const entry = await fetched(step.clip);
  if (lastPerson(entry.clip)?.by === me.name) {
    send(entry.clip, step.was || { keep: null });
    note(text("review.taken.back"));
  } else {
    note(text("review.overruled"));
  }
  if (now && now.clip.id !== step.clip) behind.push(now.clip.id);
  before = before.filter((id) => id !== step.clip);
  await show(await fetched(step.clip));
}

async function previousDecided() {
  const id = await backFrom(now ? now.clip.id : "");
  if (!id) return note(text("review.nothing.back"));
  if (now) behind.push(now.clip.id);
  await show(await fetched(id));
  note(text("review.decided"));
}

// ---- the caption ---------------------------------------------------------------------------------------------------

const editor = $("#caption-edit");

function edit() {
  editor.value = now.text;
  editor.hidden = $("#caption-hint").hidden = false;
  $("#caption").hidden = true;
  editor.focus();
}

function closeEditor() {
  editor.hidden = $("#caption-hint").hidden = true;
  $("#caption").hidden = false;
  editor.blur();
}

function setCaption(written) {
  now.text = written.trim().replace(/\s+/g, " ") || standingCaption(now.clip);
  if (now.text === standingCaption(now.clip)) remove(DRAFT);
  else write(DRAFT, { clip: now.clip.id, caption: now.text });
  draw();
}

editor.addEventListener("keydown", (event) => {
  if (event.key === "Escape" || (event.key === "Enter" && !event.isComposing)) {
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter") setCaption(editor.value);
    closeEditor();
  }
});

// ---- the screen ----------------------------------------------------------------------------------------------------

function drawCount() {
  const { undecided, in_set } = me.queues;
  $("#count").textContent = text("review.count", { decided: me.decided, undecided, in_set });
}

function draw() {
  const name = QUEUES.find((each) => each.name === queue).title;
  $("#queue").textContent = scenario === null ? name : text("queue.of", { queue: name, scenario: scenario || text("scenario.none") });
  const of = me.scenarios.find((each) => each.name === now.clip.scenario);
  const facts = of && { name: of.name, in_set: of.in_set, wanted: of.wanted, people: of.by_people };
  $("#scenario").textContent = of && of.name ? text(of.wanted === null ? "scenario.facts" : "scenario.facts.wanted", facts) : "";
  drawFacts(now.clip, now.text, now.text !== standingCaption(now.clip));
}

function drawRest() {
  const left = me.queues[queue];
  const key = scenario === null ? "review.left" : "review.left.all";
  $("#rest").textContent = text(left && queue !== "all" ? key : "review.left.none", { n: left });
}

// ---- keys and buttons ----------------------------------------------------------------------------------------------

function why() {
  $("#reason").value = "";
  $("#why").showModal();
  $("#reason").focus();
}

function pick() {
  buildQueues($("#queues"), me.queues, queue, (name) => chosen(name, scenario));
  buildScenarios($("#scenarios"), me.scenarios, scenario, (name) => chosen(queue, name));
  $("#pick").showModal();
  $("#queues button[aria-pressed=true]").focus();
}

function chosen(queueName, scenarioName) {
  $("#pick").close();
  guarded(() => restart(queueName, scenarioName));
}

function nextScenario(by) {
  const names = [null, ...me.scenarios.map((each) => each.name)];
  const at = (names.indexOf(scenario) + by + names.length) % names.length;
  return names.length > 1 ? restart(queue, names[at]) : note(text("review.no.scenarios"));
}

const ACTS = {
  ...bar.acts, keep: () => answer(true), drop: why, edit, undo, previous, next, pick,
  help: () => $("#help").showModal(),
};
const FREE = ["undo", "previous", "pick", "help"];  // do without a clip
const ANYWHERE = {
  u: undo, Backspace: undo, ArrowLeft: previous, p: previous, f: pick, "?": ACTS.help, h: ACTS.help,
  c: () => location.assign("/sheet"), Home: () => restart(queue, scenario), s: (shift) => nextScenario(shift ? -1 : 1),
};
const WITH_CLIP = {
  ...bar.keys, k: ACTS.keep, d: why, e: edit, o: () => setCaption(now.clip.imported_caption), ArrowRight: next, n: next,
};
const ANSWERS = ["k", "d", "e", "o"];

// One act after another. An answer is only taken for a clip that is shown: while another act runs, it is not.
let running = 0;
let acts = Promise.resolve();
function act(does, answers = false) {
  if (answers && running) return acts;
  running += 1;
  acts = acts.catch(() => {}).then(does).finally(() => { running -= 1; });
  return acts;
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || typing || $("dialog[open]") || !$("#welcome").hidden || !me) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;  // Caps Lock is not Shift
  const digit = QUEUES[Number(key) - 1];
  const does = WITH_CLIP[key] || ANYWHERE[key] || (digit && (() => restart(digit.name, scenario)));
  if (!does) return;
  event.preventDefault();
  const { shiftKey } = event;
  if (event.repeat && !REPEATED.includes(key)) return;
  guarded(() => act(() => (now || !WITH_CLIP[key]) && does(shiftKey), ANSWERS.includes(key)));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  const name = button?.dataset.act;
  if (!name || (!me && name !== "help")) return;
  button.blur();  // so that Space and Enter stay keys of the page
  guarded(() => act(() => (now || FREE.includes(name)) && ACTS[name](), !FREE.includes(name)));
});

$("#reason").addEventListener("keydown", (event) => {
  const reason = event.target.value === "" && REASONS[Number(event.key) - 1];
  const typed = event.key === "Enter" && !event.isComposing;
  if (!reason && !typed) return;
  event.preventDefault();
  $("#why").close();
  guarded(() => act(() => answer(false, reason || event.target.value)));
});

$("#reasons").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  $("#why").close();
  guarded(() => act(() => answer(false, button.dataset.reason)));
});

$("#pick").addEventListener("keydown", (event) => {
  const digit = QUEUES[Number(event.key) - 1];
  if (digit) return chosen(digit.name, scenario);
  if (!["ArrowUp", "ArrowDown"].includes(event.key)) return;
  event.preventDefault();
  const buttons = [...$("#pick").querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
  buttons[(at + buttons.length) % buttons.length].focus();
});

// ---- coming in -----------------------------------------------------------------------------------------------------

begin(async () => {
  me = await call("/api/review/me", undefined, away);
  keepFor(me);
  $("#project").textContent = me.project;
  $("#who").textContent = me.name;
  drawCount();
  const asked = new URLSearchParams(location.search);
  history.replaceState(null, "", location.pathname);
  if (!asked.has("clip")) return restart(queue, scenario);
  queue = QUEUES.find(({ name }) => name === asked.get("queue"))?.name || queue;
  return openClip(asked.get("clip")).catch((error) => { note(error.message); return restart(queue, scenario); });
});
