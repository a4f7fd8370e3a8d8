// Talks to the server: the token of this person, and requests that are sent again until they are answered.
const KEY = "rushes-token";

export function adoptInvitation() {
  const found = new URLSearchParams(location.hash.slice(1)).get("invite");
  if (!found) return;
  localStorage.setItem(KEY, found);
  history.replaceState(null, "", location.pathname);
}

export const token = () => localStorage.getItem(KEY) || "";
export const setToken = (value) => localStorage.setItem(KEY, value);
export const forgetToken = () => localStorage.removeItem(KEY);

export class Refusal extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const headers = () => (token() ? { authorization: `Bearer ${token()}` } : {});

// GET without a body, else POST. `away` hears whether the server can be reached; a request may be sent any number of
// times, as the server takes each only once.
export async function call(path, body, away = () => {}) {
  for (let wait = 250; ; wait = Math.min(5000, wait * 2)) {
    let response;
    try {
      response = await fetch(path, body === undefined ? { headers: headers() } : {
        method: "POST", headers: { ...headers(), "content-type": "application/json" }, body: JSON.stringify(body),
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
    const text = typeof answer.detail === "string" ? answer.detail : `The server answered ${response.status}.`;
    throw new Refusal(response.status, text);
  }
}

export async function video(section, item, side) {
  const response = await fetch(`/api/${section}/media/${encodeURIComponent(item)}/${side}`, { headers: headers() });
  if (!response.ok) throw new Refusal(response.status, "This video is missing from the project.");
  return URL.createObjectURL(await response.blob());
}
