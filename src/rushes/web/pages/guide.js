// What the project tells its people, with example pairs; and what is learnt after an answer in practice.
import { call, video } from "/static/api.js";
import { Player } from "/static/player.js";
import { away, guarded, read, write } from "/static/session.js";
import { fill } from "/static/tables.js";
import { text } from "/static/text.js";
import { newFigure } from "/static/views.js";

const $ = (selector) => document.querySelector(selector);
const SEEN = "instructions";

export class Guide {
  constructor() {
    this.dialog = $("#guide");
    this.given = null;
    this.players = [];
    this.urls = [];
    this.dialog.addEventListener("close", () => this.end());
  }

  // Looks whether there are instructions; opens them for who has not seen them as they are now.
  async start() {
    this.given = await call("/api/label/instructions", undefined, away);
    const there = Boolean(this.given.html);
    $("[data-act=guide]").hidden = !there;
    if (there && read(SEEN) !== this.given.version) this.open();
  }

  open() {
    if (!this.given?.html || this.dialog.open) return;
    write(SEEN, this.given.version);
    // Made by the server out of Markdown whose own HTML is shown as text.
    $("#guide-text").innerHTML = this.given.html;
    this.dialog.showModal();
    this.given.pairs.forEach((pair, at) => guarded(() => this.show(pair, at)));
  }

  async show(pair, at) {
    const place = $(`#guide-text [data-pair="${at}"]`);
    place.className = "example";
    const figures = ["a", "b"].map((side) => newFigure(side, side.toUpperCase()));
    place.replaceChildren(...figures);
    const urls = await Promise.all(["a", "b"].map((side) => video("label", `example-${at}`, side).catch(() => "")));
    if (!this.dialog.open) return urls.forEach((url) => URL.revokeObjectURL(url));
    this.urls.push(...urls);
    const player = new Player();
    this.players.push(player);
    const clips = pair.map((clip, side) => ({ ...clip, url: urls[side] }));
    await player.load(figures.map((figure) => figure.querySelector("video")), clips);
    player.play();
  }

  end() {
    this.players.forEach((player) => { if (player.playing) player.toggle(); });
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.players = [];
    this.urls = [];
    $("#guide-text").replaceChildren();
  }
}

const marks = (values) => values.map((value) => text(`mark.${value}`)).join(" · ");

// What the key says of a pair of practice, beside what this person said; ends when it was read.
export function explain(lesson) {
  const dialog = $("#lesson");
  const { right, of, size, passed } = lesson.standing;
  $("#lesson-title").textContent = text(lesson.right ? "lesson.right" : "lesson.wrong");
  fill("#lesson-marks", [[text("lesson.yours"), marks(lesson.yours)], [text("lesson.key"), marks(lesson.key)]]);
  const why = [...lesson.reasons, lesson.strength && text(`lesson.${lesson.strength}`), lesson.note].filter(Boolean).join(" · ");
  $("#lesson-why").textContent = why && text("lesson.why", { why });
  $("#lesson-round").textContent = of < size ? text("lesson.round", { right, of, size }) : text(passed ? "lesson.passed" : "lesson.again", { right, size });
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(), { once: true }));
}

// A judge's answer on the pair before, in words.
export const proposed = (judge, values) => text("proposal", { judge, marks: marks(values) });
