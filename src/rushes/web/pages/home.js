// Where the project stands; asks every few seconds, and not while nobody looks at this tab.
import { call } from "/static/api.js";
import { away } from "/static/session.js";

const LOOK_MS = 3000;
const $ = (selector) => document.querySelector(selector);
const WORDS = { done: "done", measured: "measured", running: "running", next: "next", later: "later", "not needed": "not needed" };
const SIGNS = { done: "✓", measured: "–", running: "▶", next: "→", later: "·", "not needed": "–" };

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const there = (address) => [...document.querySelectorAll("header nav a")].some((link) => link.getAttribute("href") === address);

function stepOf(step) {
  const title = there(step.section) ? make("a", { href: step.section, textContent: step.title }) : step.title;
  const sign = make("span", { className: "sign", textContent: SIGNS[step.state] });
  sign.setAttribute("aria-hidden", "true");
  const item = make("li", { className: step.state.replace(" ", "-") }, sign, make("b", {}, title),
    make("span", { className: "state", textContent: WORDS[step.state] }), make("span", { className: "text", textContent: step.text }));
  if (step.state === "running" || step.state === "next") item.setAttribute("aria-current", "step");
  return item;
}

function left(seconds) {
  if (seconds === null) return "";
  if (seconds < 90) return ", about a minute left";
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `, about ${minutes} min left` : `, about ${(minutes / 60).toFixed(1)} h left`;
}

let shown = "";
function draw(facts) {
  const text = JSON.stringify(facts);
  if (text === shown) return; // so that nothing that is read or selected is taken away
  shown = text;
  $("#title").textContent = facts.project;
  $("#about").textContent = facts.about;
  $("#path").replaceChildren(...facts.steps.map(stepOf));
  const now = facts.running;
  $("#running").hidden = !now;
  if (now) {
    const of = now.total ? ` of ${now.total.toLocaleString("en")}` : "";
    const count = now.done === null ? "" : `: step ${now.done.toLocaleString("en")}${of}`;
    $("#running-text").textContent = `${now.text}${count}${left(now.left_s)}`;
    $("#running-bar").hidden = !now.total;
    if (now.total) $("#running-bar").value = now.done / now.total;
  }
  $("#next").hidden = !facts.next && !facts.here;
  $("#next .command").hidden = !facts.next;
  $("#why").textContent = facts.why;
  if ($("#command").textContent !== facts.next) {
    $("#command").textContent = facts.next;
    $("#copied").textContent = "";
  }
  $("#here").hidden = !facts.here;
  $("#here a").setAttribute("href", facts.here || "#");
  $("#home").setAttribute("aria-busy", "false");
}

// Over plain HTTP on another host than this one a browser has no clipboard: then the text is selected.
async function copy() {
  try {
    await navigator.clipboard.writeText($("#command").textContent);
    $("#copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("#command"));
    $("#copied").textContent = "Selected; press Ctrl+C or ⌘C to copy it.";
  }
}

$("#copy").addEventListener("click", copy);

async function look() {
  if (document.hidden && shown) return;
  try {
    draw(await call("/api/home/facts", undefined, away));
    if ($("#note").dataset.from === "home") $("#note").hidden = true;
  } catch (error) {
    if (!shown && (error.status === 403 || error.status === 401)) return; // the frame says who may
    $("#note").textContent = error.message;
    $("#note").dataset.from = "home";
    $("#note").hidden = false;
  }
}

// One look at a time, however long an answer takes.
async function watch() {
  await look();
  setTimeout(watch, LOOK_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
watch();
