// The labels of one pair while they are made: a value per question and part, the chosen cell, and what can be undone.
// A mark is 1 (A is better), 0 (tie), -1 (B), null (cannot tell) or undefined (not marked yet).
export class Marks {
  constructor(questions, parts, given = {}) {
    this.questions = questions;
    this.parts = parts;
    this.values = questions.map((name) => Array.from({ length: parts }, (_, at) => given[name]?.[at]));
    this.row = 0;
    this.column = 0;
    this.undone = [];
  }

  choose(row, column) {
    this.row = Math.min(this.questions.length - 1, Math.max(0, row));
    this.column = Math.min(this.parts - 1, Math.max(0, column));
  }

  // Marks the chosen cell, or its whole row, and goes on to the next cell that has no mark.
  mark(value, wholeRow = false) {
    this.undone.push({ values: this.values.map((row) => [...row]), row: this.row, column: this.column });
    if (wholeRow) this.values[this.row].fill(value);
    else this.values[this.row][this.column] = value;
    const next = this.column + 1;
    if (!wholeRow && next < this.parts) this.choose(this.row, next);
    else this.toEmpty();
  }

  undo() {
    const before = this.undone.pop();
    if (!before) return false;
    this.values = before.values;
    this.choose(before.row, before.column);
    return true;
  }

  empty() { return this.values.flat().filter((value) => value === undefined).length; }

  toEmpty() {
    const row = this.values.findIndex((values) => values.includes(undefined));
    if (row >= 0) this.choose(row, this.values[row].indexOf(undefined));
  }

  labels() { return Object.fromEntries(this.questions.map((name, row) => [name, this.values[row]])); }
}
