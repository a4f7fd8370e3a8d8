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

  change(how) { this.undone.push({ state: structuredClone(this.state), last: this.last }); how(this.state); }

  // Gives a take the next place, or takes it out of its place.
  toggle(side, tie = this.tie) {
    if (!this.sides.includes(side)) return;
    const there = this.state.places.some((place) => place.includes(side));
    this.change(({ places }) => {
      if (there) {
        this.state.places = places.map((place) => place.filter((other) => other !== side)).filter((place) => place.length);
      } else if (tie && places.length) places.at(-1).push(side);
      else places.push([side]);
    });
    this.tie = false;
    this.last = there ? this.state.places.flat().at(-1) || null : side;
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

// The places, each with a button for every take in it, which takes it out again.
export function drawRanking(row, figures, ranking) {
  row.replaceChildren(...ranking.state.places.map((place, at) => {
    const group = document.createElement("li");
    group.setAttribute("aria-label", text("rank.order", { n: at + 1, sides: letters(place) }));
    group.append(`${at + 1}.`, ...place.map((side) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.rank = side;
      button.className = side;
      button.textContent = side.toUpperCase();
      button.classList.toggle("on", side === ranking.last);
      button.classList.toggle("faulty", (ranking.state.reasons[side] || []).length > 0);
      button.setAttribute("aria-label", text("rank.remove", { side: side.toUpperCase(), n: at + 1 }));
      return button;
    }));
    return group;
  }));
  for (const [side, figure] of figures) {
    const place = ranking.state.places.findIndex((sides) => sides.includes(side));
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
