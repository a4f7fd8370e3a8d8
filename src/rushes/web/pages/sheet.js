// All clips of a project at a glance: a frame of each with what the crop keeps of it, and what was decided.
import { call, video } from "/static/api.js";
import { QUEUES } from "/static/queues.js";
import { shown, text } from "/static/text.js";
import { attempt, inTurn, make, missing } from "/static/wall.js";

const $ = (selector) => document.querySelector(selector);
const HOVER_MS = 250;  // that a pointer rests on a clip before it moves
const asked = new URLSearchParams(location.search);
let queue = QUEUES.find(({ name }) => name === asked.get("queue"))?.name || "all";
let page = Math.max(0, Math.trunc(Number(asked.get("page")) || 0));
let turn = 0;
let urls = [];

const seen = new IntersectionObserver((entries) => entries.forEach(({ isIntersecting, target }) => {
  if (!isIntersecting) return;
  seen.unobserve(target);
  inTurn(() => poster(target, turn));
}), { rootMargin: "300px" });

async function show() {
  const mine = ++turn;
  const answer = await call("/api/review/sheet", { queue, page });
  if (mine !== turn) return undefined;
  const { clips, queues, cropped } = answer;
  const total = queues[queue];
  const last = Math.max(0, Math.ceil(total / answer.page) - 1);
  if (page > last) { page = last; return show(); }
  history.replaceState(null, "", `/sheet?${new URLSearchParams({ queue, page })}`);
  $("#about").textContent = text(cropped ? "sheet.cropped" : "sheet.whole");
  const first = page * answer.page;
  $("#count").textContent = clips.length ? text("sheet.count", { from: first + 1, to: first + clips.length, n: total }) : text("sheet.none");
  $("#earlier").disabled = page === 0;
  $("#later").disabled = page >= last;
  $("#queue").replaceChildren(...QUEUES.map(({ name, title }) => new Option(text("sheet.queue", { queue: title, n: queues[name] }), name, false, name === queue)));
  seen.disconnect();
  urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
  $("#sheet").replaceChildren(...clips.map(tile));
  $("#all").hidden = false;
  return missing($("#nothing"), "");
}

// ---- a clip ----------------------------------------------------------------------------------------------------------

const percent = (share) => `${Math.round(100 * share)} %`;

function tile(clip) {
  const item = make("li", "", clip.decided);
  const link = make("a");
  link.href = `/review?${new URLSearchParams({ clip: clip.id, queue })}`;
  const mat = make("span", "", "mat");
  const wide = 3 * clip.width_px >= 4 * clip.height_px;
  const picture = make("span", "", `picture ${wide ? "wide" : "tall"}${clip.width_px <= 160 ? " small" : ""}`);
  picture.style.aspectRatio = `${clip.width_px} / ${clip.height_px}`;
  const keeps = make("span", "", "keeps");
  Object.assign(keeps.style, {
    left: `${50 * (1 - clip.across)}%`, top: `${50 * (1 - clip.down)}%`, width: `${100 * clip.across}%`, height: `${100 * clip.down}%`,
  });
  const lost = 1 - clip.across * clip.down;
  if (lost > 0) picture.append(keeps);
  mat.append(picture);
  if (lost > 0.005) mat.append(make("span", text("sheet.crop", { lost: percent(lost) }), "lost"));
  picture.dataset.clip = clip.id;
  const caption = make("p", clip.caption || text("review.caption.none"), clip.caption ? "" : "none");
  const decided = text(`sheet.${clip.decided || "undecided"}`);
  const verdict = make("small", clip.decided && clip.by ? text("sheet.by", { decided, name: clip.by }) : decided);
  link.title = shown([clip.caption, clip.reason].filter(Boolean).join(" · "));
  link.append(mat, caption, verdict);
  item.append(link);
  if (clip.moves) moving(link, picture);
  seen.observe(picture);
  return item;
}

async function poster(picture, mine) {
  const url = mine === turn && await video("review", picture.dataset.clip, "poster").catch(() => "");
  if (mine !== turn) return url && URL.revokeObjectURL(url);
  if (!url) return picture.prepend(make("span", text("sheet.no.picture"), "broken"));
  urls.push(url);
  const image = make("img");
  Object.assign(image, { src: url, alt: "" });
  return picture.prepend(image);
}

// The clip moves while the pointer rests on it.
function moving(link, picture) {
  let wait = 0;
  let clip = null;
  const end = () => {
    clearTimeout(wait);
    if (!clip) return;
    URL.revokeObjectURL(clip.src);
    clip.remove();
    clip = null;
  };
  const begin = async () => {
    const mine = clip = make("video");
    Object.assign(mine, { muted: true, loop: true, playsInline: true });
    mine.setAttribute("aria-hidden", "true");
    for (const kind of ["file", "copy"]) {
      const url = await video("review", picture.dataset.clip, kind).catch(() => "");
      if (clip !== mine) return url && URL.revokeObjectURL(url);
      if (!url) continue;
      mine.src = url;
      if (await mine.play().then(() => true, () => false)) break;
      URL.revokeObjectURL(url);
    }
    if (clip === mine && !mine.paused) picture.querySelector("img")?.after(mine);
    return undefined;
  };
  link.addEventListener("pointerenter", () => { wait = setTimeout(begin, HOVER_MS); });
  link.addEventListener("pointerleave", end);
}

// ---- choices ---------------------------------------------------------------------------------------------------------

const load = () => attempt(() => show().catch((error) => {
  if (error.status !== 424) throw error;
  missing($("#nothing"), error.message);  // there are no clips yet
}));
const turned = (by) => { page += by; load(); };
$("#earlier").addEventListener("click", () => turned(-1));
$("#later").addEventListener("click", () => turned(1));
$("#queue").addEventListener("change", ({ target }) => { queue = target.value; page = 0; load(); });
load();
