// Talks to the server: who this browser is, and requests that are sent again until they are answered. All pages begin here.
import { fillWords, text } from "/static/text.js";

const KEY = "rushes-token";
const LINKS = ["key", "invite", "open"]; // what comes behind the # of an address

export const token = () => localStorage.getItem(KEY) || "";
export const setToken = (value) => localStorage.setItem(KEY, value);
export const forgetToken = () => localStorage.removeItem(KEY);

export class Refusal extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const headers = (bearer) => (bearer ? { authorization: `Bearer ${bearer}` } : {});

// GET without a body, else POST. `away` hears whether the server can be reached; a request may be sent any number of
// times, as the server takes each only once.
export async function call(path, body, away = () => {}) {
  await arrived;
  return request(path, body, away, token());
}

async function request(path, body, away, bearer) {
  for (let wait = 250; ; wait = Math.min(5000, wait * 2)) {
    let response;
    try {
      response = await fetch(path, body === undefined ? { headers: headers(bearer) } : {
        method: "POST", headers: { ...headers(bearer), "content-type": "application/json" }, body: JSON.stringify(body),
      });
    } catch {
      away(true);
      await pause(wait);
      continue;
    }
    away(false);
    if (response.status === 429) { await pause(1000); continue; }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    throw new Refusal(response.status, typeof answer.detail === "string" ? answer.detail : text("server.answered", { status: response.status }));
  }
}

export async function video(section, item, side) {
  await arrived;
  for (;;) {
    const response = await fetch(`/api/${section}/media/${encodeURIComponent(item)}/${side}`, { headers: headers(token()) });
    if (response.status === 429) { await pause(1000); continue; }
    if (!response.ok) throw new Refusal(response.status, text("server.video"));
    return URL.createObjectURL(await response.blob());
  }
}

// ---- who this browser is -------------------------------------------------------------------------------------------

async function identify(bearer, away = () => {}) {
  if (!bearer) return null;
  try {
    return await request("/api/who", undefined, away, bearer);
  } catch (error) {
    if (error.status !== 401) throw error;
    return null;
  }
}

// {name, owner, project} of who is here, null for somebody whom the server does not know. Waits for an answer.
export async function who(away = () => {}) {
  await arrived;
  return identify(token(), away);
}

// What the address brings: the owner's key or an invitation. It replaces who is here only when that person agrees, as
// any page of the web can lead a browser to such an address.
async function arrive() {
  const link = new URLSearchParams(location.hash.slice(1));
  const door = link.get("open");
  if (door) return enter(door, new URLSearchParams(location.search).get("id") || "");
  const given = ["key", "invite"].map((name) => link.get(name)).find(Boolean);
  if (!given) return;
  history.replaceState(null, "", location.pathname + location.search);
  if (given === token()) return;
  const [next, now] = await Promise.all([identify(given), identify(token())]);
  if (!next) return say(text("change.ended"));
  if (now && now.owner && next.owner) return; // with a name already
  if (!now || now.name === next.name || (await agreed(now, next))) setToken(given);
}

// Somebody of a crowd: one link for all, an id for each. The id stays in the address, so that the page can be reloaded.
async function enter(door, id) {
  history.replaceState(null, "", location.pathname + location.search);
  const now = await identify(token());
  if (now && now.name === `id ${id}`) return;
  if (now && !(await agreed(now, { name: `id ${id}`, owner: false }))) return;
  try {
    setToken((await request("/api/enter", { door, id }, () => {}, "")).token);
  } catch (error) { say(error.message); }
}

function agreed(now, next) {
  const dialog = document.querySelector("#change");
  const names = { now: now.name || text("change.owner"), next: next.name || text("change.owner") };
  dialog.querySelector("p").textContent = text(next.owner ? "change.to.owner" : "change.to", names);
  dialog.querySelector("[value='']").textContent = text("change.stay", names);
  dialog.querySelector("[value=yes]").textContent = text("change.go", names);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

function say(line) {
  const note = document.querySelector("#note");
  note.textContent = line;
  note.hidden = false;
}

// The navigation shows what this person may open; a page of the owner's sends everybody else to theirs.
async function settle() {
  const me = await who();
  const links = [...document.querySelectorAll("header nav a")];
  links.forEach((link) => { link.hidden = !me || ("owner" in link.dataset && !me.owner) || (me.crowd && !("crowd" in link.dataset)); });
  document.querySelector("header nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  if (!("owner" in document.body.dataset) || me?.owner) {
    if (me && !document.querySelector("#who").textContent) document.querySelector("#who").textContent = me.name || text("owner");
    if (me) document.querySelector("#project").textContent = me.project;
    return;
  }
  const open = links.find((link) => !link.hidden);
  if (open) return location.replace(open.getAttribute("href"));
  document.querySelectorAll("main").forEach((main) => { main.hidden = main.id !== "stranger"; });
}

fillWords();
// Of the code below nothing runs before the address was looked at.
const arrived = arrive().catch((error) => say(error.message));
settle().catch(() => {});
addEventListener("hashchange", () => { if (LINKS.some((name) => location.hash.startsWith(`#${name}=`))) location.reload(); });
