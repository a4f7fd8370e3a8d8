// What the pages share: coming in by name or invitation, lines for the person.
import { call, forgetToken, setToken, token, who } from "/static/api.js";
import { text } from "/static/text.js";

const $ = (selector) => document.querySelector(selector);

// ---- lines for the person ------------------------------------------------------------------------------------------

let noteTimer = 0;
export function note(line, stays = false) {
  clearTimeout(noteTimer);
  $("#note").textContent = line;
  $("#note").hidden = !line;
  if (line && !stays) noteTimer = setTimeout(() => note(""), 5000);
}

let isAway = false;
export function away(gone) {
  if (gone === isAway) return;
  isAway = gone;
  note(gone ? text("server.away") : "", gone);
}

// One of the page's screens: "welcome" or those that it names in data-screen.
export function screen(name) {
  document.querySelectorAll("[data-screen]").forEach((main) => { main.hidden = main.id !== name; });
}

// ---- what this browser keeps, of each project and person apart ------------------------------------------------------

let owner = "";
export function keepFor(me) { owner = `rushes ${me.place} ${me.name} `; }

export function read(key) {
  try { return JSON.parse(localStorage.getItem(owner + key)); } catch { return null; }
}

export function write(key, value) { localStorage.setItem(owner + key, JSON.stringify(value)); }
export function remove(key) { localStorage.removeItem(owner + key); }

// Over plain HTTP on another host than this one a browser has no randomUUID.
export function newEvent() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

// ---- coming in -----------------------------------------------------------------------------------------------------

export function guarded(act) {
  const show = (error) => {
    if (error.status !== 401) return note(error.message);
    forgetToken(); // it has ended
    return welcome(error.message);
  };
  try { Promise.resolve(act()).catch(show); } catch (error) { show(error); }
}

export async function welcome(line = "") {
  const hello = await call("/api/hello", undefined, away);
  $("#project").textContent = hello.project;
  screen("welcome");
  $("#join").hidden = !hello.join;
  $("#welcome-note").textContent = line || (hello.join ? "" : text("welcome.link"));
  $("#welcome-note").hidden = !$("#welcome-note").textContent;
  if (hello.join) $("#name").focus();
}

// A text whose `commands` are set as code.
export function sentence(place, line) {
  place.replaceChildren(...line.split("`").map((part, at) =>
    (at % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part)));
}

// What this page works on is not there yet; the text says the command that makes it.
function missing(line) {
  screen("missing");
  sentence($("#missing-text"), line);
}

let again = ""; // the name that is taken up again if it is sent once more
async function join() {
  const name = $("#name").value;
  try {
    const answer = await call("/api/join", { name, again: again === name }, away);
    setToken(answer.token);
    $("#name").blur();
    return true;
  } catch (error) {
    if (error.status === 409) again = name;
    $("#welcome-note").hidden = false;
    $("#welcome-note").textContent = error.message;
    return false;
  }
}

// `start` begins the work of a person whom the server knows.
export function begin(start) {
  const work = async () => {
    try {
      await start();
    } catch (error) {
      if (error.status !== 424) throw error;
      missing(error.message);
    }
  };
  $("#join").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(async () => { if (await join()) await work(); });
  });
  guarded(async () => {
    const had = token();
    const me = await who(away);
    if (me && me.name) return work();
    if (me) return welcome(); // the owner, who has not said a name
    forgetToken();
    return welcome(had ? text("welcome.unknown") : "");
  });
}
