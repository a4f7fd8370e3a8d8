// Many videos: each is loaded when it comes into view, a handful at a time, and all play in step.
import { video } from "/static/api.js";
import { Player } from "/static/player.js";
import { sentence } from "/static/session.js";
import { shown } from "/static/text.js";

const AT_ONCE = 4;  // videos that are on their way
const waiting = [];
let loading = 0;

function next() {
  while (loading < AT_ONCE && waiting.length) {
    loading += 1;
    waiting.shift()().finally(() => { loading -= 1; next(); });
  }
}

// A load, once those before it have come; it returns a promise.
export function inTurn(load) {
  waiting.push(load);
  next();
}

export const make = (tag, text = "", name = "") => {
  const element = document.createElement(tag);
  element.textContent = shown(text);
  element.className = name;
  return element;
};

export class Wall extends Player {
  constructor(changed = () => {}) {
    super(changed);
    this.cells = new Map();
    this.seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
      const cell = entry.isIntersecting && this.cells.get(entry.target);
      if (!cell || cell.asked) return;
      cell.asked = true;
      inTurn(() => this.fetch(cell));
    }), { rootMargin: "200px" });
    this.clear();
  }

  // Forget all videos.
  clear() {
    this.turn += 1;
    this.playing = false;
    this.seeking = null;
    for (const cell of this.cells.values()) {
      this.seen.unobserve(cell.figure);
      cell.element.removeAttribute("src");
      if (cell.url) URL.revokeObjectURL(cell.url);
    }
    this.cells.clear();
    [this.videos, this.clips, this.fps, this.frames, this.from, this.to, this.frame] = [[], [], 1, 1, 0, 1, 0];
    this.changed();
  }

  // A figure whose video is that of `item` and `side` in a section; `clip`: its fps, frames and width_px.
  // `copy`: the side of a copy, for files that this browser does not play.
  cell({ section, item, side, clip, label, copy = "" }) {
    const figure = make("figure", "", "cell-video");
    const element = make("video");
    Object.assign(element, { muted: true, playsInline: true, preload: "auto", width: clip.width_px, height: clip.height_px });
    element.setAttribute("aria-label", label);
    figure.append(element, make("figcaption", label));
    const cell = { figure, element, clip, url: "", asked: false, address: [section, item, side], copy };
    this.cells.set(figure, cell);
    this.seen.observe(figure);
    return figure;
  }

  async fetch(cell) {
    const [section, item, side] = cell.address;
    for (const kind of cell.copy ? [side, cell.copy] : [side]) {
      const url = await video(section, item, kind).catch(() => "");
      if (!this.cells.has(cell.figure)) return url && URL.revokeObjectURL(url);
      if (url && await this.add(cell, url)) return undefined;
    }
    cell.element.hidden = true;
    cell.figure.append(make("p", "This video is missing, or this browser cannot play it.", "broken"));
    return undefined;
  }

  async add(cell, url) {
    const { element, clip } = cell;
    const turn = this.turn;
    element.classList.toggle("small", clip.width_px <= 160);
    const loaded = await new Promise((done) => {
      element.onloadeddata = () => done(true);
      element.onerror = () => done(false);
      element.src = url;
    });
    if (!loaded || turn !== this.turn) { URL.revokeObjectURL(url); return turn !== this.turn; }
    cell.url = url;
    if (!this.videos.length) {
      this.fps = clip.fps;
      this.frames = this.to = Math.max(1, clip.frames);
    }
    this.videos.push(element);
    this.clips.push(clip);
    element.playbackRate = this.rate;
    if (this.playing) {
      element.currentTime = this.videos[0].currentTime;
      element.play().catch(() => {});
    } else {
      element.currentTime = this.timeIn(this.videos.length - 1, this.frame);
    }
    this.changed();
    return true;
  }

  get empty() { return !this.cells.size; }

  toggle() { if (this.videos.length) super.toggle(); }
}

// A click on a figure, or on the button that its caption becomes, makes it large and small again; Escape makes it small.
export function clickable(figure) {
  const caption = figure.querySelector("figcaption");
  const button = make("button", caption.firstChild.textContent);
  button.type = "button";
  button.title = "enlarge or shrink";
  caption.firstChild.replaceWith(button);
  const set = (large) => {
    figure.classList.toggle("large", large);
    button.setAttribute("aria-expanded", String(large));
  };
  figure.classList.add("clickable");
  figure.small = () => set(false);
  set(false);
  figure.addEventListener("click", () => {
    const large = !figure.classList.contains("large");
    figure.parentElement.querySelectorAll(".large").forEach((other) => other.small());
    set(large);
    if (large) figure.scrollIntoView({ block: "nearest" });
  });
  figure.addEventListener("keydown", (event) => { if (event.key === "Escape") set(false); });
  return figure;
}

// What went wrong, in the line for the person; nothing takes it away.
export function tell(error) {
  const note = document.querySelector("#note");
  note.textContent = error?.message || "";
  note.hidden = !error;
}
export const attempt = (act) => Promise.resolve().then(act).then(() => tell(null), tell);

export const plain = (name) => name.replaceAll("_", " ");
export const number = (value) => String(Number(value.toPrecision(4)));

export function options(select, values, all) {
  select.replaceChildren(...(all === undefined ? values : ["", ...values]).map((value) => {
    const option = make("option", value ? plain(value) : all);
    option.value = value;
    return option;
  }));
}

// A sentence in place of what is missing, its command as code.
export function missing(place, text) {
  place.hidden = !text;
  sentence(place, text);
}

// Up and down in a list of buttons; `chosen` hears of the one that has the focus then.
export function arrows(list, chosen) {
  list.addEventListener("keydown", (event) => {
    if (!["ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    const buttons = [...list.querySelectorAll("button")];
    const to = buttons[buttons.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
    if (!to) return;
    to.focus();
    chosen(to);
  });
}
