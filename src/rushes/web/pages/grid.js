// The timeline of parts: a row of cells for each question.
const WORDS = { 1: "A", 0: "tie", "-1": "B", null: "cannot tell" };
const short = (seconds) => String(Math.round(seconds * 100) / 100);

// Begin and end of a part in a clip of so many seconds; the last part holds what is left of the clip.
export function partSeconds(column, parts, seconds, length) {
  if (length === null) return [0, seconds];
  return [column * length, column === parts - 1 ? seconds : (column + 1) * length];
}

// `chosen` is told the row and column of a cell that was clicked.
export function buildGrid(grid, { dimensions, segment_s }, { clips, segments }, chosen) {
  grid.replaceChildren();
  const seconds = Math.min(clips.a.frames / clips.a.fps, clips.b.frames / clips.b.fps);
  dimensions.forEach((question, row) => {
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = question.replaceAll("_", " ");
    const cells = document.createElement("div");
    cells.className = "cells";
    cells.setAttribute("role", "row");
    for (let column = 0; column < segments; column += 1) {
      const [from, to] = partSeconds(column, segments, seconds, segment_s);
      const cell = document.createElement("button");
      cell.type = "button";
      cell.tabIndex = -1;
      cell.className = "cell";
      cell.style.flexGrow = String(to - from);
      cell.dataset.span = segment_s === null ? "whole clip" : `${short(from)}–${short(to)} s`;
      cell.setAttribute("role", "gridcell");
      cell.addEventListener("click", () => chosen(row, column));
      cells.append(cell);
    }
    const head = document.createElement("i");
    head.className = "head";
    cells.append(head);
    grid.append(name, cells);
  });
}

export function drawGrid(grid, marks) {
  grid.querySelectorAll(".name").forEach((name, row) => name.classList.toggle("on", row === marks.row));
  grid.querySelectorAll(".cells").forEach((cells, row) => {
    cells.querySelectorAll(".cell").forEach((cell, column) => {
      const value = marks.values[row][column];
      const on = row === marks.row && column === marks.column;
      cell.classList.toggle("on", on);
      if (value === undefined) cell.removeAttribute("data-mark");
      else cell.dataset.mark = String(value);
      const small = document.createElement("small");
      small.textContent = cell.dataset.span;
      cell.replaceChildren(value === undefined ? small : WORDS[value]);
      const said = value === undefined ? "no label" : WORDS[value];
      cell.setAttribute("aria-label", `${marks.questions[row]}, ${cell.dataset.span}: ${said}`);
      cell.setAttribute("aria-selected", String(on));
    });
  });
}
