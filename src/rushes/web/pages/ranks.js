// Several takes on one screen, ranked: the state, and the row of places under the clips.
import { say, text } from "/static/text.js";

const letters = (sides) => sides.map((side) => side.toUpperCase()).join(", ");

export class Ranking {
  constructor(sides, given = {}) {
    this.sides = sides;
    this.state = { places: (given.ranking || []).map((place) => [...place]), broken: [...(given.remarks?.broken || [])], reasons: {} };
    const order = this.state.places.flat();
    (given.remarks?.reasons || []).forEach((words, at) => { this.state.reasons[order[at]] = [...words]; });
    Object.assign(this.state.reasons, given.reasonsOf);
    this.tie = false;        // the next take shares the place of the one before
    this.last = order.at(-1) || null;
    this.undone = [];
  }

  change(act) { this.undone.push({ state: structuredClone(this.state), last: this.last }); act(this.state); }

  placeOf(side) { return this.state.places.findIndex((place) => place.includes(side)); }

  // Gives a take a place of its own before place `at`, or joins it to that (`tie`), or takes it out of its own.
  put(side, { at = 0, tie = false, out = false }) {
    this.change((state) => {
      const places = state.places.map((place) => place.filter((other) => other !== side));
      if (!out && tie) places[at].push(side);
      else if (!out) places.splice(at, 0, [side]);
      state.places = places.filter((place) => place.length);
    });
    this.tie = false;
    this.last = out ? this.state.places.flat().at(-1) || null : side;
  }

  // Gives a take the next place, or takes it out of its place.
  toggle(side, tie = this.tie) {
    const next = this.state.places.length;
    if (this.placeOf(side) >= 0) this.put(side, { out: true });
    else this.put(side, tie && next ? { at: next - 1, tie } : { at: next });
  }

  // The take that was placed last, one place better (-1) or worse (1); out of a place that it shares, beside that.
  move(by) {
    const at = this.placeOf(this.last);
    if (at < 0) return;
    const shared = this.state.places[at].length > 1;
    if (shared || this.state.places[at + by]) this.put(this.last, { at: at + (by > 0) + (shared ? 0 : by) });
  }

  clear() { this.change((state) => { state.places = []; }); this.last = null; }

  left() { return this.sides.filter((side) => !this.state.places.flat().includes(side)); }

  chosenReasons() { return this.state.reasons[this.last] || []; }

  toggleReason(word) {
    if (!this.last) return;
    const words = this.chosenReasons();
    this.change(({ reasons }) => {
      reasons[this.last] = words.includes(word) ? words.filter((other) => other !== word) : [...words, word];
    });
  }

  toggleBroken(side) {
    this.change((state) => {
      state.broken = state.broken.includes(side) ? state.broken.filter((other) => other !== side) : [...state.broken, side].sort();
    });
  }

  undo() {
    const before = this.undone.pop();
    if (!before) return false;
    this.state = before.state;
    this.last = before.last;
    this.tie = false;
    return true;
  }

  remarks() {
    const reasons = this.state.places.flat().map((side) => this.state.reasons[side] || []);
    return { reasons: reasons.some((words) => words.length) ? reasons : [], broken: this.state.broken };
  }
}

function takeButton(side, ranking, label) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: side, textContent: side.toUpperCase() });
  button.dataset.rank = side;
  button.classList.toggle("on", side === ranking.last);
  button.classList.toggle("faulty", (ranking.state.reasons[side] || []).length > 0);
  button.setAttribute("aria-label", label);
  return button;
}

// The places, each with a button for every take in it, which takes it out again; and the takes without a place.
export function drawRanking(row, figures, ranking) {
  const { places } = ranking.state;
  row.querySelector("#places").replaceChildren(...places.map((place, at) => {
    const group = document.createElement("li");
    group.setAttribute("aria-label", text("rank.order", { n: at + 1, sides: letters(place) }));
    const label = (side) => text("rank.remove", { side: side.toUpperCase(), n: at + 1 });
    group.append(`${at + 1}.`, ...place.map((side) => takeButton(side, ranking, label(side))));
    return group;
  }));
  const label = (side) => text("rank.place", { side: side.toUpperCase(), n: places.length + 1 });
  row.querySelector("#unplaced").replaceChildren(...ranking.left().map((side) => takeButton(side, ranking, label(side))));
  for (const [side, figure] of figures) {
    const place = ranking.placeOf(side);
    const button = figure.querySelector("[data-rank]");
    if (!button) continue;
    button.textContent = place < 0 ? side.toUpperCase() : `${side.toUpperCase()} · ${place + 1}`;
    button.setAttribute("aria-pressed", String(place >= 0));
    button.setAttribute("aria-label", place < 0 ? text("rank.place", { side: side.toUpperCase(), n: ranking.state.places.length + 1 })
      : text("rank.placed", { side: side.toUpperCase(), n: place + 1 }));
  }
}

export function drawTie(button, ranking) {
  say(button, "rank.tie");
  button.setAttribute("aria-pressed", String(ranking.tie));
}
