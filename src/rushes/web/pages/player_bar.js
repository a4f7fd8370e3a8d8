// The bar under clips that play: buttons and keys to play, step and change the speed; where the page has them (see
// player.html), also a line between two clips, blinking, their difference, zoom and full screen.
import { say, text } from "/static/text.js";
import { Views } from "/static/views.js";

const TYPING = "input, textarea, select, dialog[open]";
export const REPEATED = [",", ".", "<", ">", ";", ":", "-", "+", "="];  // as long as they are held

export class PlayerBar {
  // `changed` hears how much of the clips is over, from 0 to 1.
  constructor(player, changed = () => {}) {
    Object.assign(this, { player, changed, bar: document.querySelector("#controls") });
    this.views = this.part("#view") && new Views(document.querySelector("#panes"), () => this.drawViews());
    const step = (by) => (large) => player.step(large ? by * Math.max(1, Math.round(player.frames / 10)) : by);
    const [toggle, slower, faster] = [() => player.toggle(), () => player.faster(-1), () => player.faster(1)];
    this.acts = { toggle, back: () => player.step(-1), forward: () => player.step(1), speed: () => player.faster(1, true) };
    // With Shift, which changes the sign of the key, steps are of a tenth of the clip.
    this.keys = { " ": toggle, "-": slower, "+": faster, "=": faster };
    [",", "<", ";"].forEach((key) => { this.keys[key] = step(-1); });
    [".", ">", ":"].forEach((key) => { this.keys[key] = step(1); });
    this.pairKeys = {};
    if (this.views) this.addViews(this.views);
    player.changed = () => this.draw();
    this.draw();
  }

  addViews(views) {
    const { acts } = this;
    Object.assign(acts, {
      wipe: () => views.toggle("wipe"), blink: () => views.blink(), difference: () => views.toggle("difference"),
      zoom: () => views.nextZoom(), full: () => views.full(),
    });
    Object.assign(this.keys, { z: (back) => views.nextZoom(back ? -1 : 1), f: acts.full, Escape: () => views.set("side") });
    this.pairKeys = { w: acts.wipe, k: acts.blink, d: (more) => (more ? views.more() : acts.difference()) };
    views.draw();
  }

  part(selector) { return this.bar.querySelector(selector); }

  draw() {
    const { player } = this;
    const there = player.videos.length > 0;
    this.bar.hidden = player.empty;
    this.part("#frame").textContent = there ? text("frame", { n: player.frame + 1, of: player.frames }) : "";
    this.part("#speed").textContent = `${player.rate}×`;
    this.part("[data-act=speed]").setAttribute("aria-label", text("speed", { rate: player.rate }));
    this.part("[data-act=toggle]").textContent = player.playing ? "❚❚" : "▶";
    this.part("[data-act=toggle]").setAttribute("aria-label", text(player.playing ? "pause" : "play"));
    if (there) this.changed((player.frame + 0.5) / player.frames);
  }

  drawViews() {
    const { views } = this;
    for (const mode of ["wipe", "blink", "difference"]) {
      this.part(`[data-act=${mode}]`).setAttribute("aria-pressed", String(views.mode === mode));
    }
    const zoom = Math.round(10 * views.zoom.scale) / 10;
    say(this.part("[data-act=zoom]"), "view.zoom", { zoom });
    this.part("[data-act=zoom]").setAttribute("aria-label", text("view.zoom.label", { zoom }));
    const state = views.state();
    if (this.part("#view-state").textContent !== state) this.part("#view-state").textContent = state;
  }

  // Takes the keys and clicks of a page that has no table of its own for them; `attempt` shows what went wrong.
  listen(attempt) {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.target.closest(TYPING)) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const act = this.keys[key] || this.pairKeys[key];
      const panned = this.views?.panned(event);
      if (!panned && (!act || (key === " " && event.target.closest("button, summary, a")))) return;
      if (key !== "Escape") event.preventDefault();
      if (!panned && (!event.repeat || REPEATED.includes(key))) attempt(() => act(event.shiftKey));
    });
    this.bar.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      if (!button) return;
      if (event.detail) button.blur();  // of a mouse: so that Space stays a key of the page
      attempt(this.acts[button.dataset.act]);
    });
  }
}
