// The timeline: a lane of free spans, and under it a row of parts for each question.
import { text, say } from "/static/text.js";

const short = (seconds) => String(Math.round(seconds * 100) / 100);
const LEAST_PX = 5; // a shorter drag is a click

// Begin and end of a part in a clip of so many seconds; the last part holds what is left of the clip.
export function partSeconds(column, parts, seconds, length) {
  if (length === null) return [0, seconds];
  return [column * length, column === parts - 1 ? seconds : (column + 1) * length];
}

export const spanText = (from, to) => text("seconds", { from: short(from), to: short(to) });

// `chosen` hears the row and column of a cell that was clicked; `spans.dragged` the ends of a new span in seconds, and
// `spans.chosen` the number of one that was clicked. `snap` puts a time on the border of a frame.
export function buildGrid(grid, { dimensions, segment_s }, seconds, partTimes, chosen, spans, snap) {
  grid.replaceChildren();
  dimensions.forEach((question, row) => {
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = question.replaceAll("_", " ");
    const cells = document.createElement("div");
    cells.className = "cells";
    cells.setAttribute("role", "row");
    partTimes.forEach(([from, to], column) => {
      const cell = document.createElement("button");
      cell.type = "button";
      cell.tabIndex = -1;
      cell.className = "cell";
      cell.style.flexGrow = String(to - from);
      cell.dataset.span = segment_s === null ? text("whole") : spanText(from, to);
      cell.setAttribute("role", "gridcell");
      cell.addEventListener("click", (event) => { released(event); chosen(row, column); });
      cells.append(cell);
    });
    const head = document.createElement("i");
    head.className = "head";
    cells.append(head);
    grid.append(name, cells);
  });
  const name = document.createElement("span");
  name.className = "lane-name";
  name.textContent = text("lane");
  grid.prepend(name, buildLane(seconds, spans, snap));
}

function buildLane(seconds, spans, snap) {
  const lane = document.createElement("div");
  lane.className = "lane";
  lane.setAttribute("role", "row");
  const hint = document.createElement("small");
  hint.setAttribute("role", "gridcell");
  say(hint, "lane.hint");
  const drawn = document.createElement("i");
  drawn.className = "drawn";
  drawn.hidden = true;
  lane.append(hint, drawn);
  const time = (event) => {
    const box = lane.getBoundingClientRect();
    return snap(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * seconds);
  };
  let began = null;
  lane.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest("button")) return;
    began = { x: event.clientX, at: time(event) };
    lane.setPointerCapture(event.pointerId);
  });
  lane.addEventListener("pointermove", (event) => {
    if (!began) return;
    const [from, to] = [began.at, time(event)].sort((first, second) => first - second);
    drawn.hidden = false;
    place(drawn, from, to, seconds);
  });
  lane.addEventListener("pointerup", (event) => {
    drawn.hidden = true;
    const ended = began && Math.abs(event.clientX - began.x) >= LEAST_PX;
    const ends = ended ? [began.at, time(event)].sort((first, second) => first - second) : [0, 0];
    began = null;
    if (ends[1] > ends[0]) spans.dragged(...ends);
  });
  lane.addEventListener("pointercancel", () => { began = null; drawn.hidden = true; });
  lane.addEventListener("click", (event) => {
    const span = event.target.closest("button");
    released(event);
    if (span) spans.chosen(Number(span.dataset.at));
  });
  return lane;
}

// A button that a mouse clicked lets go of the keys: Space and Enter stay those of the page.
function released(event) { if (event.detail) event.target.closest("button")?.blur(); }

function place(element, from, to, seconds) {
  element.style.left = `${(100 * from) / seconds}%`;
  element.style.width = `${(100 * (to - from)) / seconds}%`;
}

export function drawGrid(grid, marks, seconds) {
  drawSpans(grid.querySelector(".lane"), marks, seconds);
  grid.querySelectorAll(".name").forEach((name, row) => name.classList.toggle("on", row === marks.row && marks.span === null));
  grid.querySelectorAll(".cells").forEach((cells, row) => {
    cells.querySelectorAll(".cell").forEach((cell, column) => {
      const value = marks.values[row][column];
      const on = row === marks.row && column === marks.column && marks.span === null;
      const reasons = row ? [] : marks.state.reasons[column];
      cell.classList.toggle("on", on);
      cell.classList.toggle("auto", !row && marks.state.auto[column]);
      cell.classList.toggle("faulty", reasons.length > 0);
      if (value === undefined) cell.removeAttribute("data-mark");
      else cell.dataset.mark = String(value);
      const small = document.createElement("small");
      small.textContent = cell.dataset.span;
      cell.replaceChildren(value === undefined ? small : text(`mark.${value}`));
      const mark = value === undefined ? text("mark.none") : text(`mark.${value}`);
      const name = text("cell", { question: marks.questions[row].replaceAll("_", " "), span: cell.dataset.span, mark });
      cell.setAttribute("aria-label", reasons.length ? text("cell.reasons", { cell: name, reasons: reasons.join(", ") }) : name);
      cell.setAttribute("aria-selected", String(on));
    });
  });
}

function drawSpans(lane, marks, seconds) {
  lane.querySelectorAll("button").forEach((button) => button.remove());
  lane.querySelector("small").hidden = marks.state.spans.length > 0;
  marks.state.spans.forEach((span, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = -1;
    button.className = "span";
    button.dataset.at = String(at);
    if (span.mark !== null) button.dataset.mark = String(span.mark);
    button.classList.toggle("on", at === marks.span);
    button.classList.toggle("faulty", span.reasons.length > 0);
    place(button, span.start_s, span.end_s, seconds);
    const mark = text(span.mark === null ? "mark.none" : `mark.${span.mark}`);
    const name = text("span", { span: spanText(span.start_s, span.end_s), mark });
    button.textContent = span.mark === null ? "?" : mark;
    button.setAttribute("role", "gridcell");
    button.setAttribute("aria-selected", String(at === marks.span));
    button.setAttribute("aria-label", span.reasons.length ? text("cell.reasons", { cell: name, reasons: span.reasons.join(", ") }) : name);
    lane.append(button);
  });
}
