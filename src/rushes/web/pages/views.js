// Ways to look at two clips: side by side, or on a phone one at a time by a switch; a wipe line, blinking and the difference in one place; zoom and pan, which
// show the same region of every clip.
import { shown, text } from "/static/text.js";

const ZOOMS = [1, 2, 4, 8];
const GAINS = [2, 4, 8, 16, 32];
const STEP = 0.02; // of the width, that an arrow key moves the line
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// A clip on the screen, for `use`, under the words that identify it.
export function newFigure(side, name) {
  const [figure, clip, caption] = ["figure", "video", "figcaption"].map((tag) => document.createElement(tag));
  figure.className = side;
  Object.assign(clip, { muted: true, playsInline: true });
  caption.textContent = shown(name);
  figure.append(clip, caption);
  return figure;
}

export class Views {
  // panes: the element of player.html that the figures are in; changed: hears of every change, to draw buttons.
  constructor(panes, changed) {
    Object.assign(this, { panes, changed, line: panes.querySelector("#line"), canvas: panes.querySelector("#difference") });
    this.mode = "side";
    this.at = 0.5;
    this.shown = "a";
    this.gain = 2; // place in GAINS
    this.zoom = { scale: 1, x: 0.5, y: 0.5 };
    this.pointers = new Map();
    this.clips = [];
    this.turn = 0;
    this.sides = panes.querySelector("#sides"); // the switch; without it a phone shows clips side by side too
    this.narrow = matchMedia("(max-width: 720px)"); // as in label.css
    this.seen = new Set();
    this.listen();
  }

  // figures: of all clips on the screen, the two that are compared first.
  use(figures, clips) {
    this.figures = figures;
    this.videos = figures.map((figure) => figure.querySelector("video"));
    this.clips = clips;
    this.times = [null, null];
    this.turn += 1;
    this.seen.clear();
    if (this.single()) this.shown = "a";
    if (this.mode === "side" || this.mode === "blink") this.mode = this.single() ? "blink" : this.mode;
    if (figures.length) this.watch(this.turn);
    this.draw();
  }

  // Whether there is room for one clip alone, so that blinking by the switch stands in place of side by side.
  single() { return Boolean(this.sides && this.narrow.matches && this.panes.closest("[data-form=pairs]")); }

  show(side) {
    this.shown = side;
    this.set("blink");
  }

  // Of the two that are compared the one that was not on the screen yet; "" = both were.
  unseen() { return ["a", "b"].find((side) => !this.seen.has(side)) || ""; }

  set(mode) {
    this.mode = mode === "side" && this.single() ? "blink" : mode;
    this.draw();
    if (this.mode === "wipe") this.line.focus({ preventScroll: true });
    else this.line.blur();
  }

  toggle(mode) { this.set(this.mode === mode ? "side" : mode); }

  blink() {
    this.shown = this.mode === "blink" && this.shown === "a" ? "b" : "a";
    this.set("blink");
  }

  more() { this.gain = (this.gain + 1) % GAINS.length; this.set("difference"); }

  moveLine(at) {
    this.at = Math.min(1, Math.max(0, at));
    this.draw();
  }

  // ---- zoom ---------------------------------------------------------------------------------------------------------

  // The next zoom, round and round, or the one before.
  nextZoom(by = 1) {
    const at = ZOOMS.findLastIndex((scale) => scale <= this.zoom.scale + 1e-6);
    this.zoomTo(ZOOMS[by > 0 ? (at + 1) % ZOOMS.length : Math.max(0, at - 1)], 0.5, 0.5);
  }

  // So that what lies at (x, y) of a pane, in shares of its size, stays there.
  zoomTo(scale, x, y) {
    const before = this.zoom;
    const next = Math.min(ZOOMS.at(-1), Math.max(1, scale));
    const stay = (place, share) => {
      const content = (share + place * (before.scale - 1)) / before.scale; // what lies there, of the whole picture
      return next === 1 ? 0.5 : Math.min(1, Math.max(0, (content * next - share) / (next - 1)));
    };
    this.zoom = { scale: next, x: stay(before.x, x), y: stay(before.y, y) };
    this.draw();
  }

  // By shares of a pane's size, as the picture moves.
  pan(x, y) {
    const { scale } = this.zoom;
    if (scale === 1) return;
    const move = (place, by) => Math.min(1, Math.max(0, place - by / (scale - 1)));
    this.zoom = { scale, x: move(this.zoom.x, x), y: move(this.zoom.y, y) };
    this.draw();
  }

  // Whether Shift and an arrow key moved what is zoomed.
  panned({ key, shiftKey }) {
    const [columns, rows] = ARROWS[key] || [];
    if (!shiftKey || columns === undefined || this.zoom.scale === 1) return false;
    this.pan(-columns / 8, -rows / 8);
    return true;
  }

  async full() {
    if (document.fullscreenElement) return document.exitFullscreen();
    if (!document.documentElement.requestFullscreen) throw new Error(text("note.full"));
    return document.documentElement.requestFullscreen();
  }

  // ---- drawing ------------------------------------------------------------------------------------------------------

  draw() {
    const { scale, x, y } = this.zoom;
    this.panes.dataset.view = this.mode;
    this.panes.classList.toggle("stacked", this.mode !== "side");
    this.panes.classList.toggle("zoomed", scale > 1);
    this.line.hidden = this.mode !== "wipe";
    this.line.style.left = `${100 * this.at}%`;
    this.line.setAttribute("aria-valuenow", String(Math.round(100 * this.at)));
    this.canvas.hidden = this.mode !== "difference";
    (this.videos || []).forEach((video) => {
      video.style.transform = scale === 1 ? "" : `translate(${-100 * x * (scale - 1)}%, ${-100 * y * (scale - 1)}%) scale(${scale})`;
    });
    if (this.figures?.length) {
      const blinking = this.mode === "blink", single = this.single();
      if (this.shown === "real" && !single) this.shown = "a";
      this.figures[1].style.clipPath = this.mode === "wipe" ? `inset(0 0 0 ${100 * this.at}%)` : "";
      this.figures.forEach((figure, at) => {
        const side = ["a", "b"][at] || "real";
        figure.classList.toggle("blinked", blinking && (at < 2 || single) && this.shown !== side);
      });
      (blinking ? [this.shown] : ["a", "b"]).forEach((side) => this.seen.add(side));
      this.sides?.querySelectorAll("button").forEach(({ dataset }, at, buttons) => {
        buttons[at].setAttribute("aria-pressed", String(blinking && dataset.side === this.shown));
        buttons[at].hidden = dataset.side === "real" && this.figures.length < 3;
      });
    }
    this.difference();
    this.changed();
  }

  state() {
    if (this.mode === "difference") return text("view.difference.is", { gain: GAINS[this.gain] });
    return text(`view.${this.mode}${this.mode === "side" ? "" : ".is"}`, { side: this.shown.toUpperCase() });
  }

  // Notes which frame each of the two has on the screen, and draws the difference once both show the same.
  watch(turn) {
    this.videos.slice(0, 2).forEach((video, at) => {
      video.onseeked = () => this.difference();  // a frame may be announced before it can be drawn
      if (!video.requestVideoFrameCallback) return;
      const seen = (_, frame) => {
        if (turn !== this.turn) return;
        this.times[at] = frame.mediaTime;
        this.difference();
        video.requestVideoFrameCallback(seen);
      };
      video.requestVideoFrameCallback(seen);
    });
  }

  inStep() {
    const [a, b] = this.times;
    if (this.videos.slice(0, 2).some((video) => video.readyState < 2)) return false;
    return a === null || b === null || Math.abs(a - b) < 0.75 / this.clips[0].fps;
  }

  // |A - B|, each fitted into one box, made GAINS[gain] times brighter by adding the picture to itself.
  difference() {
    if (this.mode !== "difference" || !this.videos?.length || !this.inStep()) return;
    const { canvas, zoom } = this;
    const dense = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [Math.round(canvas.clientWidth * dense), Math.round(canvas.clientHeight * dense)];
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalCompositeOperation = "source-over";
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, width, height);
    pen.setTransform(zoom.scale, 0, 0, zoom.scale, -zoom.x * (zoom.scale - 1) * width, -zoom.y * (zoom.scale - 1) * height);
    this.videos.slice(0, 2).forEach((video, at) => {
      const shrink = Math.min(width / video.videoWidth, height / video.videoHeight);
      const [wide, high] = [video.videoWidth * shrink, video.videoHeight * shrink];
      pen.globalCompositeOperation = at ? "difference" : "source-over";
      pen.imageSmoothingEnabled = this.clips[at].width_px > 160;
      pen.drawImage(video, (width - wide) / 2, (height - high) / 2, wide, high);
    });
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalCompositeOperation = "lighter";
    for (let gain = 1; gain < GAINS[this.gain]; gain *= 2) pen.drawImage(canvas, 0, 0);
  }

  // ---- mouse, wheel and fingers -------------------------------------------------------------------------------------

  listen() {
    const { panes, line } = this;
    addEventListener("resize", () => this.difference());
    this.narrow.addEventListener("change", () => this.set(this.mode === "blink" ? "side" : this.mode));
    this.sides?.addEventListener("click", ({ target }) => target.closest("button") && this.show(target.closest("button").dataset.side));
    line.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: this.at - STEP, ArrowRight: this.at + STEP, Home: 0, End: 1 }[event.key];
      if (to === undefined || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.moveLine(to);
    });
    panes.addEventListener("wheel", (event) => {
      const box = this.boxAt(event);
      if (!box) return;
      event.preventDefault();
      this.zoomTo(this.zoom.scale * Math.exp(-event.deltaY / 400), ...this.share(event, box));
    }, { passive: false });
    panes.addEventListener("pointerdown", (event) => {
      const box = this.boxAt(event);
      if (!box || event.button || event.target.closest("button")) return;
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, box, line: event.target === line });
      if (this.mode === "wipe" || this.zoom.scale > 1 || this.pointers.size > 1) panes.setPointerCapture(event.pointerId);
      if (this.mode === "wipe" && this.zoom.scale === 1) this.moveLine(this.share(event, box)[0]);
    });
    panes.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      panes.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
  }

  drag(event) {
    const held = this.pointers.get(event.pointerId);
    if (!held) return;
    const { box } = held;
    const [was, other] = [{ ...held }, [...this.pointers.values()].find((pointer) => pointer !== held)];
    Object.assign(held, { x: event.clientX, y: event.clientY });
    if (other) {
      const apart = (pointer) => Math.hypot(pointer.x - other.x, pointer.y - other.y) || 1;
      const middle = { clientX: (held.x + other.x) / 2, clientY: (held.y + other.y) / 2 };
      this.zoomTo((this.zoom.scale * apart(held)) / apart(was), ...this.share(middle, box));
      this.pan((held.x - was.x) / 2 / box.width, (held.y - was.y) / 2 / box.height);
    } else if (this.mode === "wipe" && (held.line || this.zoom.scale === 1)) this.moveLine(this.share(event, box)[0]);
    else this.pan((held.x - was.x) / box.width, (held.y - was.y) / box.height);
  }

  // The pane under a pointer.
  boxAt(event) {
    const over = event.target.closest("figure") || (event.target.closest("#line, canvas") && this.figures?.[0]);
    return over ? over.getBoundingClientRect() : null;
  }

  share(event, box) {
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }
}
