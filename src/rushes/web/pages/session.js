// What the pages share: coming in by name or invitation, lines for the person, the controls of a player.
import { adoptInvitation, call, forgetToken, setToken, token } from "/static/api.js";

const $ = (selector) => document.querySelector(selector);

// ---- lines for the person ------------------------------------------------------------------------------------------

let noteTimer = 0;
export function note(text, stays = false) {
  clearTimeout(noteTimer);
  $("#note").textContent = text;
  $("#note").hidden = !text;
  if (text && !stays) noteTimer = setTimeout(() => note(""), 5000);
}

let isAway = false;
export function away(gone) {
  if (gone === isAway) return;
  isAway = gone;
  note(gone ? "The server does not answer. Your answers are kept here and sent when it is back." : "", gone);
}

// One of the page's screens: "welcome" or those that it names in data-screen.
export function screen(name) {
  document.querySelectorAll("[data-screen]").forEach((main) => { main.hidden = main.id !== name; });
}

// The buttons under the videos; returns how much of the clip is over, from 0 to 1.
export function drawControls(player) {
  $("#frame").textContent = `frame ${player.frame + 1} / ${player.frames}`;
  $("#speed").textContent = `${player.rate}×`;
  const button = $("[data-act=toggle]");
  button.textContent = player.playing ? "❚❚" : "▶";
  button.setAttribute("aria-label", player.playing ? "Pause" : "Play");
  return (player.frame + 0.5) / player.frames;
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
  const told = (error) => (error.status === 401 ? welcome(error.message) : note(error.message));
  try { Promise.resolve(act()).catch(told); } catch (error) { told(error); }
}

export async function welcome(text = "") {
  const hello = await call("/api/hello", undefined, away);
  $("#project").textContent = hello.project;
  screen("welcome");
  $("#join").hidden = !hello.join;
  $("#welcome-note").hidden = !text && hello.join;
  $("#welcome-note").textContent = text || (hello.join ? "" : "Open the invitation that you were sent to begin.");
  if (hello.join) $("#name").focus();
}

// `start` begins the work of a person whom the server knows.
export function begin(start) {
  $("#join").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(async () => {
      try {
        const answer = await call("/api/join", { name: $("#name").value }, away);
        setToken(answer.token);
        $("#name").blur();
        await start();
      } catch (error) {
        $("#welcome-note").hidden = false;
        $("#welcome-note").textContent = error.message;
      }
    });
  });
  addEventListener("hashchange", () => location.reload());  // an invitation that is opened in this very tab
  adoptInvitation();
  guarded(async () => {
    if (!token()) return welcome();
    try {
      await start();
    } catch (error) {
      if (error.status !== 401) throw error;
      forgetToken();
      await welcome(error.message);
    }
  });
}
